"""The demo's sentences and queries as token ids, in batches as files that a worker reads."""

from dataclasses import dataclass
from pathlib import Path

BATCH = 32
MAX_TOKENS = 256

QUERIES = (
    "a machine learning model that understands language",
    "what should I cook tonight?",
    "the weather was terrible",
    "sport results",
    "money is losing its value",
    "software bug",
)


def sentences() -> list[str]:
    return Path(__file__).with_name("sentences.txt").read_text("utf-8").splitlines()


@dataclass(frozen=True)
class Corpus:
    """Token ids and masks, int64 [batch, seq], padded within each batch."""

    singles: list  # [1, seq] pairs: each sentence by itself
    batches: list  # pairs of up to 32 sentences, in the order of sentences()
    queries: tuple  # one pair with all queries


def tokenize() -> Corpus:
    import numpy as np
    from tokenizers import Tokenizer

    from .files import model_dir

    tokenizer = Tokenizer.from_file(str(model_dir() / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding(length=None)

    def encode(texts):
        encoded = tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded], np.int64)
        return ids, np.array([one.attention_mask for one in encoded], np.int64)

    texts = sentences()
    return Corpus(
        [encode([text]) for text in texts],
        [encode(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)],
        encode(list(QUERIES)),
    )


def write(corpus: Corpus, folder: Path) -> None:
    """<kind>-<number>.{ids,mask}.npy for the worker."""
    import numpy as np

    groups = {"single": corpus.singles, "batch": corpus.batches, "query": [corpus.queries]}
    for kind, pairs in groups.items():
        for number, (ids, mask) in enumerate(pairs):
            np.save(folder / f"{kind}-{number:03}.ids.npy", ids)
            np.save(folder / f"{kind}-{number:03}.mask.npy", mask)
