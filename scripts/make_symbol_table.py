#!/usr/bin/env python3
"""Writes docs/symbols.md, the exported C symbols, from each symbols.def and torch's headers.

Needs torch installed, for its headers. `--check` writes nothing and fails if the file is stale.
"""

import argparse
import importlib.util
import re
import sys
from pathlib import Path

from c_declarations import (
    CUDA_SYMBOLS_FILE,
    REPOSITORY,
    SYMBOLS_FILE,
    declarations,
    exported_symbols,
)

TABLE_FILE = REPOSITORY / "docs/symbols.md"
# The first pattern that matches the beginning of a name, without aoti_torch_, is its family.
FAMILIES = [
    (r"create_cuda_|delete_cuda_|cuda_guard_|get_current_cuda_", "guards"),
    (r"device_type_|dtype_|layout_|memory_format_", "codes"),
    (r"grad_mode_|check$|warn$", "thread state"),
    (r"get_|is_", "attributes"),
    (r"item_|scalar_to_tensor_", "scalars"),
    (r"_reinterpret_tensor|_alloc_from_pool|as_strided", "views"),
    (r"clone|copy_|tensor_copy_|zero_|assign_", "copies"),
    (r"new_|empty_|create_tensor|delete_tensor|cuda_caching_allocator", "creation"),
    (r"proxy_executor_", "proxy"),
    (r"(cpu|cuda)_((exact_)?int\d_plain_mm|weight_)", "low-bit products"),
    (r"(cpu|cuda)_((mm|addmm|bmm|baddbmm)_out|_(convert_)?weight_(to_)?int4pack)", "products"),
    (r"cpu__scaled_dot_product", "attention"),
    (r"(cpu|cuda)_(topk|sort|cumsum|cumprod|nonzero)", "selection and scans"),
    (r"cuda_(rand|uniform|normal)", "random numbers"),
    (r"aotiny_thread_exit$|aotinyerr$|aotinyModuleLoad$", "stand-ins for a model's imports"),
    (r"aotiny_", "aotiny's own API"),
]
# Torch 2.13's headers declare these, for cpu_ and cuda_ both, and torch 2.11's do not. All others
# are in both with the same types: found by comparing the two.
SINCE_2_12 = (
    "_grouped_mm",
    "grid_sampler_3d",
    "grid_sampler_3d_backward",
    "rand_like",
    "rand_like_generator",
    "randint_like",
    "randint_like_low_dtype",
    "randn_like",
    "randn_like_generator",
)
# What the C++ types of torch's headers are in C.
TORCH_TYPES = {"c10::Half*": "uint16_t*", "c10::BFloat16*": "uint16_t*"}


def torch_headers() -> list[Path]:
    """Torch's headers that declare the ABI; empty without torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None:
        return []
    root = Path(spec.origin).parent / "include/torch/csrc/inductor/aoti_torch"
    return [
        root / "c/shim.h",
        root / "c/shim_deprecated.h",
        root / "c/shim_cpu.h",
        root / "generated/c_shim_cpu.h",
        root / "generated/c_shim_cuda.h",
    ]


def torch_types() -> dict[str, tuple[str, ...]]:
    """The types of every function of torch's ABI, as C writes them."""
    found = {}
    for header in torch_headers():
        for name, declaration in declarations(header).items():
            found[name] = tuple(TORCH_TYPES.get(kind, kind) for kind in declaration.types)
    return found


def our_types(file: Path = SYMBOLS_FILE) -> dict[str, tuple[str, ...]]:
    """The types of every function that the C headers of a library declare."""
    headers = sorted({h for h in exported_symbols(file).values() if h.parent.name == "abi"})
    return {
        name: declaration.types
        for header in headers
        for name, declaration in declarations(header).items()
    }


def family(symbol: str) -> str:
    for pattern, name in FAMILIES:
        if re.match(pattern, symbol.removeprefix("aoti_torch_")):
            return name
    raise SystemExit(f"{symbol} belongs to no family: add one to {Path(__file__).name}")


def versions(symbol: str) -> str:
    """The versions of torch whose headers declare a function that 2.13's do."""
    name = re.sub(r"^aoti_torch_(cpu|cuda)_", "", symbol)
    return "2.13" if name in SINCE_2_12 else "2.11, 2.13"


def rows(file: Path) -> list[str]:
    ours, torchs = our_types(file), torch_types()
    lines = ["| symbol | family | declared by torch |", "|---|---|---|"]
    for symbol in exported_symbols(file):
        if symbol not in torchs:
            verdict = "no"
        elif torchs[symbol] != ours[symbol]:
            verdict = "with other types"
        else:
            verdict = versions(symbol)
        lines.append(f"| `{symbol}` | {family(symbol)} | {verdict} |")
    return lines


def table() -> str:
    lines = [
        "# Exported C symbols",
        "",
        "Made from `cpp/aotiny/abi/symbols.def`, `cuda/aotiny/abi/symbols.def` and torch 2.13's",
        "headers by `scripts/make_symbol_table.py`. The last column says which versions of torch",
        "declare the function with the same types; 2.11 and 2.13 were looked at. Models compiled",
        "by torch 2.13 were run on the CPU, by torch 2.11 on CUDA.",
        "",
        *rows(SYMBOLS_FILE),
        "",
        "## libaotiny_cuda",
        "",
        *rows(CUDA_SYMBOLS_FILE),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if the file is stale")
    arguments = parser.parse_args()
    if not torch_headers():
        raise SystemExit("torch is not installed: its headers are needed")
    if not arguments.check:
        TABLE_FILE.write_text(table())
    elif not TABLE_FILE.exists() or TABLE_FILE.read_text() != table():
        print(f"{TABLE_FILE} is stale: run {sys.argv[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
