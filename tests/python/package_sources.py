"""Sources of the tiny models that the loader's tests compile, for the CPU and for CUDA, and how
plain AOTInductor compiles them: each in a process of its own, without a manifest.

A source defines `module` and `example` on `device`, and may define `dynamic` and `options`.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What every package here is compiled with.
OPTIONS = {
    "aot_inductor.link_libtorch": False,
    "aot_inductor.package_constants_on_disk_format": "binary_blob",
    "aot_inductor.use_consts_asm_build": False,
}

# x [n, 16] -> x * scale + 0..15
AFFINE = """
class Affine(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((16,), scale))
        self.shift = torch.nn.Parameter(torch.arange(16.0))
    def forward(self, x):
        return x * self.scale + self.shift
module, example = Affine(%s), (torch.zeros(3, 16, device=device),)
dynamic = ({0: torch.export.Dim("n", min=1, max=64)},)
"""
SOURCES = {
    "affine": AFFINE % "2.0",
    "other_affine": AFFINE % "-5.0",
    # Returns its input, a view of it, the same result twice, and None.
    "aliases": """
class Aliases(torch.nn.Module):
    def forward(self, x):
        y = x + 1
        return x, x[1:], y, y, None
module, example = Aliases(), (torch.zeros(3, 16, device=device),)
""",
    # Every run adds to a buffer: one too many, or too few, shows.
    "counter": """
class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(16))
        self.weight = torch.nn.Parameter(torch.ones(16))
    def forward(self, x):
        self.total.add_(x)
        return self.total * self.weight
module, example = Counter(), (torch.zeros(16, device=device),)
""",
    "lookup": """
class Lookup(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.arange(40.0).reshape(10, 4))
    def forward(self, i):
        return self.table[i]
module, example = Lookup(), (torch.zeros(3, dtype=torch.int64, device=device),)
""",
}


def define(source: str, device: str = "cpu") -> dict:
    """What a source defines; needs torch."""
    import torch

    torch.manual_seed(0)
    defined = {"torch": torch, "device": device, "dynamic": None, "options": {}}
    exec(source, defined)
    defined["module"] = defined["module"].eval().to(device)
    return defined


def compile_sources(sources: dict[str, str], folder: Path, device: str, options: dict) -> None:
    """Makes folder/<name>.pt2 of each source, several at a time; a source's own options come
    on top of `options`, and `options = None` there means torch's defaults."""

    def make(name: str) -> None:
        path = folder / f"{name}.pt2"
        job = {
            "source": sources[name], "path": str(path), "device": device, "options": options,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, __file__], input=json.dumps(job),
            # Several compile side by side: none needs a pool of workers of its own.
            env={"TORCHINDUCTOR_COMPILE_THREADS": "1", **os.environ},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert path.exists(), f"{name}: {done.stderr[-4000:]}"

    with ThreadPoolExecutor(min(12, os.cpu_count() or 1)) as pool:
        list(pool.map(make, sources))


def main() -> None:
    import torch
    import torch._inductor.cpu_vec_isa

    # Torch compiles and opens a library for each set of instructions that the processor may have,
    # in one process after the other. What every processor of the tests has is enough.
    torch._inductor.config.cpp.vec_isa_ok = True
    torch._inductor.cpu_vec_isa.VecISA.check_build = lambda *_: False
    job = json.load(sys.stdin)
    defined = define(job["source"], job["device"])
    program = torch.export.export(
        defined["module"], defined["example"], dynamic_shapes=defined["dynamic"]
    )
    own = defined["options"]
    torch._inductor.aoti_compile_and_package(
        program,
        package_path=job["path"],
        inductor_configs=None if own is None else {**job["options"], **own},
    )


if __name__ == "__main__":
    main()
