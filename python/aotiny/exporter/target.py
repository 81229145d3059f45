"""The instruction set that a package is compiled for, and AOTInductor's options.

A target is a level of the x86-64 psABI, so that a package says which machines run it: the default
of torch, -march=native, gives code that only machines like the exporting one are sure to run. That
holds for the code of a CUDA package that runs on the host as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from .versions import has_option, without_newer_options

_V3_FEATURES = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")
_V4_FEATURES = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")


@dataclass(frozen=True)
class Target:
    """A psABI level, the width of its vectors in bits, its flags as /proc/cpuinfo names them."""

    march: str
    simdlen: int
    isa: str  # as the metadata of a package names it
    features: tuple[str, ...]


TARGETS = {
    target.march: target
    for target in (
        Target("x86-64-v3", 256, "AVX2", _V3_FEATURES),
        Target("x86-64-v4", 512, "AVX512", _V3_FEATURES + _V4_FEATURES),
    )
}


def host_features(cpuinfo: str = "/proc/cpuinfo") -> frozenset[str]:
    """The CPU flags of this machine; empty if it does not say."""
    try:
        lines = Path(cpuinfo).read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


def choose_target(name: str | None, host: frozenset[str]) -> Target:
    """The named target, or the widest that a machine with the flags `host` runs."""
    if name is not None:
        if name not in TARGETS:
            raise ValueError(f"unknown target {name!r}; there are {', '.join(sorted(TARGETS))}")
        return TARGETS[name]
    fitting = [target for target in TARGETS.values() if host.issuperset(target.features)]
    if not fitting:
        raise ValueError(
            f"this machine reaches no target of {', '.join(sorted(TARGETS))}; "
            "name one with target= to compile for another machine"
        )
    return max(fitting, key=lambda target: target.simdlen)


@contextmanager
def vector_isa(target: Target) -> Iterator[None]:
    """Lets inductor see this target's vector instructions and no others.

    Left alone it takes the widest set of the exporting machine, and with it compiler flags beyond
    the level (VNNI, AMX, BF16), or none at all when its test program fails to link.
    """
    from torch._inductor import cpu_vec_isa

    base = {256: cpu_vec_isa.VecAVX2, 512: cpu_vec_isa.VecAVX512}[target.simdlen]

    class ExactIsa(base):
        def __bool__(self) -> bool:
            return True

        def is_avx512_bf16_supported(self) -> bool:
            return False

        def build_arch_flags(self) -> str:
            return self._arch_flags

        __hash__ = base.__hash__

    isa = ExactIsa()
    with mock.patch.object(cpu_vec_isa, "valid_vec_isa_list", lambda: [isa]), _march(target):
        yield


@contextmanager
def _march(target: Target) -> Iterator[None]:
    """Lets a torch without the option cpp.march give the compiler the target's flag."""
    from torch._inductor import cpp_builder

    if has_option("cpp.march"):
        yield
        return
    original = cpp_builder._get_optimization_cflags

    def for_target(*args, **kwargs):
        compiling, linking = original(*args, **kwargs)
        flags = {"march=native": f"march={target.march}"}
        return [flags.get(flag, flag) for flag in compiling], linking

    with mock.patch.object(cpp_builder, "_get_optimization_cflags", for_target):
        yield


def compile_options(target: Target, constants: str) -> dict[str, object]:
    """AOTInductor's options for a package without libtorch, on any device.

    `constants` is "blob" (a file of their own in the archive, mapped at load) or "so" (inside the
    shared object).
    """
    if constants not in ("blob", "so"):
        raise ValueError(f'constants is "blob" or "so", not {constants!r}')
    options = {
        "aot_inductor.link_libtorch": False,
        "aot_inductor.package_constants_in_so": constants == "so",
        "aot_inductor.package_constants_on_disk_format": "binary_blob"
        if constants == "blob"
        else None,
        # The assembler's object would ask for an executable stack. It is needed for constants
        # inside the shared object: as C++ text they take minutes to compile.
        "aot_inductor.use_consts_asm_build": constants == "so",
        "aot_inductor.enable_line_tables": False,
        "cpp.vec_isa_ok": True,
        "cpp.march": target.march,
        "cpp.simdlen": target.simdlen,
        # Any number of threads at run time, not the one of the exporting process.
        "cpp.dynamic_threads": True,
    }
    return without_newer_options(options)


def cuda_options(gemm: str) -> dict[str, object]:
    """What a package for CUDA needs besides.

    `gemm` is "cublas" (products of float matrices are calls) or "triton" (kernels in the package,
    chosen by trying them out while compiling).
    """
    if gemm not in ("cublas", "triton"):
        raise ValueError(f'gemm is "cublas" or "triton", not {gemm!r}')
    options: dict[str, object] = {
        # Otherwise the kernels would be files that the code looks for in a folder.
        "aot_inductor.embed_kernel_binary": True,
    }
    if gemm == "triton":
        options["max_autotune_gemm"] = True
        options["max_autotune_gemm_backends"] = "TRITON"
    return options
