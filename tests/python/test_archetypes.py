"""Each archetype, exported with its constants inside the .so and as a blob, run without torch."""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import aotiny
from archetypes import ARCHETYPES, USER_SHIM_SOURCE, expected_outputs

torch = pytest.importorskip("torch")

from aotiny.exporter.package import CompiledPackage  # noqa: E402

CASES = [f"{name}-{constants}" for name in ARCHETYPES for constants in ("blob", "so")]


@pytest.fixture(scope="session")
def user_library(tmp_path_factory) -> Path:
    """A shared library with the C shim of archetypes::axpy."""
    folder = tmp_path_factory.mktemp("user_library")
    source, library = folder / "axpy.c", folder / "libaxpy.so"
    source.write_text(USER_SHIM_SOURCE)
    prefix = aotiny.cmake_prefix()
    subprocess.run(
        [
            "gcc",
            "-shared",
            "-fPIC",
            "-O1",
            "-Wl,-soname,libaxpy.so",  # a path has to be short
            f"-I{prefix}/include",
            source,
            "-o",
            library,
            f"-L{prefix}/lib",
            "-l:libaotiny.so.0",
            f"-Wl,-rpath,{prefix}/lib",
        ],
        check=True,
    )
    return library


def _export(case: str, folder: Path) -> tuple[Path, dict]:
    name, constants = case.rsplit("-", 1)
    archetype = ARCHETYPES[name]
    path = folder / f"{case}.pt2"
    manifest = aotiny.export(
        archetype.make(),
        archetype.example,
        path,
        dynamic_shapes=archetype.dynamic_shapes,
        constants=constants,
        custom_ops=archetype.custom_ops(),
    )
    return path, manifest


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> dict[str, tuple[Path, dict]]:
    """case -> (package, manifest). Several processes export, each several cases."""
    folder = tmp_path_factory.mktemp("archetypes")
    processes = min(8, os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        made = pool.map(_export, CASES, [folder] * len(CASES))
        return dict(zip(CASES, made, strict=True))


@pytest.fixture(scope="session")
def results(exported, user_library, tmp_path_factory) -> tuple[dict, Path]:
    """What one process without torch said about all cases, and the folder with the outputs."""
    folder = tmp_path_factory.mktemp("runs")
    models = {}
    for case, (package, _) in exported.items():
        runs = []
        for r, inputs in enumerate(ARCHETYPES[case.rsplit("-", 1)[0]].runs):
            files = []
            for i, tensor in enumerate(inputs):
                file = folder / f"in.{case}.{r}.{i}.npy"
                is_bf16 = tensor.dtype == torch.bfloat16
                np.save(file, (tensor.float() if is_bf16 else tensor).numpy())
                dtype = str(tensor.dtype).removeprefix("torch.")
                files.append({"file": str(file), "dtype": dtype})
            runs.append(files)
        models[case] = {"package": str(package), "runs": runs}
    job = {"libraries": [str(user_library)], "models": models, "output": str(folder)}
    job_file = folder / "job.json"
    job_file.write_text(json.dumps(job))
    script = Path(__file__).with_name("run_packages.py")
    process = subprocess.run(
        [sys.executable, str(script), str(job_file)], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1]), folder


@pytest.mark.parametrize("case", CASES)
def test_matches_eager_torch(case, results):
    described, folder = results
    name = case.rsplit("-", 1)[0]
    archetype = ARCHETYPES[name]
    assert isinstance(described[case], list), described[case]
    for r, outputs in enumerate(expected_outputs(archetype)):
        assert len(described[case][r]) == len(outputs)
        for i, expected in enumerate(outputs):
            dtype, shape, _ = described[case][r][i]
            assert dtype == str(expected.dtype).removeprefix("torch.")
            assert shape == list(expected.shape), f"run {r}, output {i}"
            actual = np.load(folder / f"{case}.{r}.{i}.npy")
            if not expected.is_floating_point():
                np.testing.assert_array_equal(actual, expected.numpy())
                continue
            expected = expected.double().numpy()
            bound = archetype.tolerance * np.abs(expected).max(initial=1e-30)
            difference = np.abs(actual - expected).max(initial=0)
            assert difference <= bound, f"run {r}, output {i}"


@pytest.mark.parametrize("case", CASES)
def test_code_is_vectorized(case, exported):
    package = CompiledPackage(exported[case][0])
    assert package.isa in ("AVX2", "AVX512")
    assert package.is_vectorized


@pytest.mark.parametrize("case", CASES)
def test_manifest_says_what_inputs_may_be(case, exported):
    archetype = ARCHETYPES[case.rsplit("-", 1)[0]]
    _, manifest = exported[case]
    inputs = manifest["inputs"]
    assert {i["name"]: i["range"] for i in inputs if "range" in i} == archetype.ranges
    assert {c["fqn"] for c in manifest["constants"] if c["mutable"]} == archetype.mutable
    for entry, example in zip(inputs, archetype.example, strict=True):
        assert len(entry["shape"]) == example.dim()
        for described, size in zip(entry["shape"], example.shape, strict=True):
            if isinstance(described, dict):
                assert described["min"] == 1 and described["min"] <= size <= described["max"]
            else:
                assert described == size


@pytest.mark.parametrize("case", CASES)
def test_constants_lie_where_asked(case, exported):
    import zipfile

    path, manifest = exported[case]
    with zipfile.ZipFile(path) as archive:
        blobs = [i for i in archive.infolist() if i.filename.endswith("_weights.blob")]
    if case.endswith("-so") or not manifest["constants"]:
        assert not [b for b in blobs if b.file_size]
    else:
        assert len(blobs) == 1
        # Every constant once, each padded to 64 bytes: packing does not add copies.
        needed = 0
        for constant in CompiledPackage(path).constants:
            needed += -(-constant["bytes"] // 64) * 64
        assert blobs[0].file_size == needed
