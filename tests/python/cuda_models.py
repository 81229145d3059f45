"""Packages for CUDA, made by aotiny.export where there is a GPU and a torch that it knows.

    python cuda_models.py FOLDER [NAME ...]     # compiles, several at a time

Test modules import the fixture `cuda_package`; AOTINY_TEST_CUDA_PACKAGES=FOLDER names the packages
made before. Each case builds the same module, on the CPU, wherever it is asked: a test runs it in
torch too.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import aotiny
from cuda_packages import kept_packages
from package_sources import SOURCES, define

WHY_NOT = aotiny.cuda.why_not()
if not WHY_NOT:
    try:
        import torch
    except ImportError:
        WHY_NOT = "torch is not installed"
    else:
        if not torch.cuda.is_available():
            WHY_NOT = f"torch {torch.__version__} sees no GPU"
needs_torch_cuda = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

# A few candidates a product: trying out all of them takes minutes.
TRITON = {"gemm": "triton", "options": {"test_configs.max_mm_configs": 2}}


@dataclass(frozen=True)
class Case:
    """What a package is made of; build() gives the module and args() its example inputs."""

    build: Callable
    args: Callable
    options: dict = field(default_factory=dict)  # for aotiny.export
    dynamic: Callable = lambda: None  # dynamic_shapes


def _torch():
    import torch

    torch.manual_seed(7)
    return torch


# --- small ones -------------------------------------------------------------------------------


def _rows(least=1, most=64):
    import torch

    return ({0: torch.export.Dim("n", min=least, max=most)},)


def counter():
    """x [16] -> twice the sum of all x so far [16], and how many there were [1]"""
    torch = _torch()

    class Counter(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.zeros(16))
            self.register_buffer("calls", torch.zeros(1, dtype=torch.int64))
            self.factor = torch.nn.Parameter(torch.full((16,), 2.0))

        def forward(self, x):
            self.total.add_(x)
            self.calls.add_(1)
            return self.total * self.factor, self.calls.clone()

    return Counter().eval()


def cache():
    """x [8], position int64 [1] -> the cache [32, 8] with x in that row"""
    torch = _torch()

    class Cache(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("rows", torch.zeros(32, 8))

        def forward(self, x, position):
            self.rows.index_copy_(0, position, x[None])
            return self.rows + 0

    return Cache().eval()


def mlp(dtype="float32", width=256):
    """x [n, width] -> [n, 96], two layers with biases"""
    torch = _torch()
    layers = (torch.nn.Linear(width, 192), torch.nn.GELU(), torch.nn.Linear(192, 96))
    return torch.nn.Sequential(*layers).to(getattr(torch, dtype)).eval()


def tied():
    from torch_modules import Tied

    return Tied().eval()


def experts():
    """Its stack is in int6."""
    torch = _torch()
    from aotiny.torch import WeightTensor
    from torch_modules import Experts

    module = Experts()
    packed = WeightTensor.from_weight(aotiny.quantize(module.experts.detach(), "int6"))
    module.experts = torch.nn.Parameter(packed, requires_grad=False)
    return module.eval()


# --- operators that stay calls ------------------------------------------------------------------


def _module(function, **buffers):
    """A module whose forward(x) is function(module, x)."""
    torch = _torch()

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, tensor in buffers.items():
                self.register_buffer(name, tensor)

        def forward(self, x):
            return function(self, x)

    return Module().eval()


def selection():
    """x [n, 600] -> its rows sorted downwards, stably, with places; the 5 least with places"""

    torch = _torch()

    def forward(_, x):
        return (*torch.sort(x, dim=-1, descending=True, stable=True),
                *torch.topk(x, 5, largest=False))  # fmt: skip

    return _module(forward)


def scans():
    """x [n, 70] -> running sums and products of its rows, running sums int64 of its columns"""

    def forward(_, x):
        return x.cumsum(-1), x.cumprod(-1), (x * 1000).long().cumsum(0)

    return _module(forward)


def nonzero():
    """x [40, 16] -> where it is positive, and the rows whose mean is"""

    def forward(_, x):
        rows = (x.mean(1) > 0).nonzero().squeeze(1)
        return (x > 0).nonzero(), x.index_select(0, rows) * 2

    return _module(forward)


def random_numbers():
    """x [n, 33] -> x + uniform numbers, integers in -5..94 [n, 33], x + normal numbers"""
    torch = _torch()

    def forward(_, x):
        integers = torch.randint(-5, 95, (x.shape[0], 33), device=x.device)
        uniform = torch.rand(x.shape[0], 33, device=x.device)
        return x + uniform, integers, x + torch.randn(x.shape[0], 33, device=x.device)

    return _module(forward)


def table_on_the_host():
    """x [n, 16] -> x * 0..15 + 100..115, which the code has on the CPU"""
    torch = _torch()
    table = torch.arange(100.0, 116)

    def forward(module, x):
        return x * module.scale + torch.tensor(table.tolist()).to(x.device)

    return _module(forward, scale=torch.arange(16.0))


# --- the block: RMSNorm, attention, tile-packed int4, SwiGLU, a linear layer ----------------------


def block():
    """x bf16 [1, seq, 256] -> the same shape"""
    torch = _torch()
    from torch import nn
    from torch.nn import functional as F

    width, inner, heads = 256, 512, 4

    class TilePacked(nn.Module):
        """torch's own _weight_int4pack_mm, on weights that aotiny packed."""

        def __init__(self, k, n):
            super().__init__()
            packed = aotiny.quantize(torch.randn(n, k) * k**-0.5, "int4_tile_packed")
            for name, plane in packed.tensors().items():
                self.register_buffer(name, torch.from_dlpack(plane).clone())
            self.group_size = packed.group_size

        def forward(self, x):
            y = torch.ops.aten._weight_int4pack_mm(
                x.reshape(-1, x.shape[-1]), self.qdata, self.group_size, self.scales_and_zeros
            )
            return y.view(*x.shape[:-1], -1)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(2))
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width, bias=False)
            self.gate, self.up = TilePacked(width, inner), TilePacked(width, inner)
            self.down = TilePacked(inner, width)

        def forward(self, x):
            h = self.norms[0](x)
            q, k, v = (
                part.view(1, -1, heads, width // heads).transpose(1, 2)
                for part in self.qkv(h).chunk(3, -1)
            )
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(attended.transpose(1, 2).reshape(x.shape))
            h = self.norms[1](x)
            return x + self.down(F.silu(self.gate(h)) * self.up(h))

    return Block().to(torch.bfloat16).eval()


def _randn(*shape, dtype="float32"):
    def make():
        torch = _torch()
        return (
            torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(
                getattr(torch, dtype)
            ),
        )

    return make


def _zeros(*shape):
    return lambda: (_torch().zeros(*shape, dtype=_torch().int64),)


def _sourced(name: str, **options) -> Case:
    """A model of package_sources.py, with any number of rows."""
    source = SOURCES[name]
    return Case(lambda: define(source)["module"], lambda: define(source)["example"], options, _rows)


def _decoder(dtype="bfloat16", **options) -> Case:
    def build():
        from cuda_decoder import decoder

        return decoder(getattr(_torch(), dtype))

    def args():
        from cuda_decoder import example

        return example()

    return Case(build, args, options)


CASES = {
    # The slowest to compile come first.
    "decoder-bf16": _decoder(),
    "decoder-triton": _decoder(**TRITON),
    "decoder-int4": _decoder(quantize="int4"),
    "decoder-int6": _decoder(quantize="int6"),
    "affine": _sourced("affine"),
    "other_affine": _sourced("other_affine"),
    "embedded": _sourced("affine", constants="so"),
    "counter": Case(counter, _randn(16)),
    "cache": Case(cache, lambda: (_torch().ones(8), _torch().tensor([0]))),
    "lookup": _sourced("lookup"),
    "mlp": Case(mlp, _randn(3, 256), {}, _rows),
    "mlp-triton": Case(mlp, _randn(3, 256), TRITON, _rows),
    **{
        f"mlp-{format}": Case(
            lambda: mlp("bfloat16"), _randn(3, 256, dtype="bfloat16"), {"quantize": format}, _rows
        )
        for format in ("int4", "int6", "int8", "exact_int4")
    },
    "tied-int4": Case(tied, _zeros(3), {"quantize": "int4"}, _rows),
    "experts": Case(experts, _randn(3, 5, 64)),
    "selection": Case(selection, _randn(3, 600), {}, _rows),
    "scans": Case(scans, _randn(3, 70), {}, _rows),
    "nonzero": Case(nonzero, _randn(40, 16)),
    "random": Case(random_numbers, _randn(3, 33), {}, _rows),
    "random-calls": Case(
        random_numbers, _randn(3, 33), {"options": {"fallback_random": True}}, _rows
    ),
    "table": Case(table_on_the_host, _randn(3, 16), {}, _rows),
    # Fails where there is one GPU.
    "second": Case(mlp, _randn(3, 256), {"quantize": "int6", "device": "cuda:1"}, _rows),
    "block-cublas": Case(block, _randn(1, 24, 256, dtype="bfloat16")),
    "block-triton": Case(block, _randn(1, 24, 256, dtype="bfloat16"), TRITON),
}


def export_case(name: str, path: Path) -> dict:
    case = CASES[name]
    return aotiny.export(
        case.build(),
        case.args(),
        path,
        dynamic_shapes=case.dynamic(),
        **{"device": "cuda", **case.options},
    )


def compile_cases(folder: Path, names) -> dict[str, str]:
    """Makes what is missing, each in a process of its own; name -> what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)

    def make(name: str) -> str:
        path = folder / f"{name}.pt2"
        if path.exists():
            return ""
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(folder), name],
            # Many compile side by side: none needs a pool of workers of its own.
            env={**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return "" if path.exists() else done.stderr[-3000:]

    with ThreadPoolExecutor(min(12, os.cpu_count() or 1)) as pool:
        failures = zip(names, pool.map(make, names), strict=True)
        return {name: text for name, text in failures if text}


@pytest.fixture(scope="session", name="cuda_package")
def cuda_package_fixture(tmp_path_factory):
    """cuda_package(name): the path of one of CASES. All are compiled when the first is asked for,
    since side by side they take little longer."""
    folder = kept_packages(tmp_path_factory, "exported")
    lock = threading.Lock()
    failures: dict[str, str] = {}

    def get(name: str) -> Path:
        path = folder / f"{name}.pt2"
        with lock:
            if not path.exists() and name not in failures:
                failures.update(compile_cases(folder, list(CASES)))
        assert path.exists(), failures[name]
        return path

    return get


def main() -> None:
    if sys.argv[1] == "--one":
        folder, name = Path(sys.argv[2]), sys.argv[3]
        export_case(name, folder / f"{name}.pt2")
        return
    names = sys.argv[2:] or list(CASES)
    failures = compile_cases(Path(sys.argv[1]) / "exported", names)
    for name in names:
        print(f"{name}: {failures.get(name) or 'made'}", flush=True)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
