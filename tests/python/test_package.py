"""Packages that are damaged, incomplete or made for something else."""

import json
import os
import subprocess
import zipfile

import numpy as np
import pytest

import aotiny
import models
from models import affine, failure, package_fixture, x  # noqa: F401

pytest.importorskip("torch")


@pytest.fixture
def source(package):
    return package("affine")


def entry(path, suffix):
    with zipfile.ZipFile(path) as archive:
        return next(i for i in archive.infolist() if i.filename.endswith(suffix))


def data_offset(path, suffix):
    info = entry(path, suffix)
    header = path.read_bytes()[info.header_offset : info.header_offset + 30]
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return info.header_offset + 30 + lengths


def replace(source, target, suffix, data):
    return models.rewrite(source, target, lambda name, old: data if name.endswith(suffix) else old)


def test_inspect(source):
    found = aotiny.inspect(source)
    assert found["torch_version"] is None and found["inputs"] is None
    assert found["bytes"] == source.stat().st_size
    (model,) = found["models"].values()
    assert model["missing_symbols"] == []
    assert "aoti_torch_empty_strided" in model["required_symbols"]
    assert model["weights_bytes"] == 128
    assert model["metadata"]["AOTI_MACHINE"]
    with zipfile.ZipFile(source) as archive:
        assert {e["name"]: e["bytes"] for e in found["entries"]} == {
            i.filename: i.file_size for i in archive.infolist()
        }


def test_a_copy_with_unaligned_weights_runs(source, tmp_path):
    copy = models.rewrite(source, tmp_path / "copy.pt2", lambda name, data: data)
    np.testing.assert_allclose(aotiny.Model(copy)(x())[0].numpy(), affine(x(), 2), rtol=1e-6)


def test_several_models(package, tmp_path):
    path = tmp_path / "both.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in ("affine", "other_affine"):
            with zipfile.ZipFile(package(name)) as archive:
                for item in archive.infolist():
                    if "/data/aotinductor/" in item.filename:
                        file = item.filename.rsplit("/", 1)[1]
                        target.writestr(f"both/data/aotinductor/{name}/{file}", archive.read(item))
    assert "affine, other_affine" in str(failure(aotiny.Model, path))
    assert "no model named" in str(failure(lambda: aotiny.Model(path, name="third")))
    for name, scale in (("affine", 2), ("other_affine", -5)):
        model = aotiny.Model(path, name=name)
        np.testing.assert_allclose(model(x())[0].numpy(), affine(x(), scale), rtol=1e-6)


def test_files_that_are_no_package(tmp_path):
    path = tmp_path / "m.pt2"
    assert failure(aotiny.Model, path).name == "NotFound"
    assert failure(aotiny.Model, tmp_path).name == "AccessFailed"
    for contents in (b"", b"PK\x05\x06", b"not a zip" * 1000):
        path.write_bytes(contents)
        assert failure(aotiny.Model, path).name == "InvalidProgram"
        assert failure(aotiny.inspect, path).name == "InvalidProgram"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/version", "1")
    assert "no compiled model" in str(failure(aotiny.Model, path))


def test_truncated(source, tmp_path):
    contents = source.read_bytes()
    path = tmp_path / "short.pt2"
    for size in (10, 1000, len(contents) // 2, len(contents) - 1):
        path.write_bytes(contents[:size])
        assert failure(aotiny.Model, path).name == "InvalidProgram"


@pytest.mark.parametrize("suffix", [".wrapper.so", ".wrapper_metadata.json"])
def test_damage_is_found_by_its_checksum(source, tmp_path, suffix):
    contents = bytearray(source.read_bytes())
    contents[data_offset(source, suffix) + 40] ^= 0x10
    path = tmp_path / "damaged.pt2"
    path.write_bytes(contents)
    assert "checksum" in str(failure(aotiny.Model, path))


def test_compressed_entries_are_refused_by_name(source, tmp_path):
    path = tmp_path / "compressed.pt2"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
    assert ".wrapper.cpp is compressed (method 8)" in str(failure(aotiny.Model, path))


def test_missing_and_short_weights(source, tmp_path):
    path = tmp_path / "weights.pt2"
    replace(source, path, "_weights.blob", None)
    assert "2 of 2 constants (128 bytes in all)" in str(failure(aotiny.Model, path))
    replace(source, path, "_weights.blob", bytes(127))
    assert "take 128 bytes, the package has 127" in str(failure(aotiny.Model, path))
    replace(source, path, "_weights.blob", bytes(192))
    assert "take 128 bytes, the package has 192" in str(failure(aotiny.Model, path))


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("AOTI_PLATFORM", "win32", "platform win32"),
        ("AOTI_MACHINE", "sparc64", "machine sparc64"),
        ("AOTI_DEVICE_KEY", "cuda", "device cuda"),
        ("AOTI_CPU_ISA", "AMX_TILE SVE", "lacks:"),
    ],
)
def test_made_for_another_machine(source, tmp_path, key, value, text):
    name = "_metadata.json"
    with zipfile.ZipFile(source) as archive:
        metadata = json.loads(archive.read(entry(source, ".wrapper" + name)))
    path = tmp_path / "other.pt2"
    replace(source, path, name, json.dumps({**metadata, key: value}))
    error = failure(aotiny.Model, path)
    assert error.name == "NotSupported" and text in str(error)


def test_code_for_another_machine(source, tmp_path):
    with zipfile.ZipFile(source) as archive:
        code = bytearray(archive.read(entry(source, ".wrapper.so")))
    path = tmp_path / "code.pt2"
    code[18:20] = (243).to_bytes(2, "little")  # RISC-V
    replace(source, path, ".wrapper.so", bytes(code))
    assert "riscv64" in str(failure(aotiny.Model, path))
    replace(source, path, ".wrapper.so", bytes(code[:3000]))
    assert failure(aotiny.Model, path).name == "InvalidProgram"
    replace(source, path, ".wrapper.so", b"\x7fELF but no more")
    assert failure(aotiny.Model, path).name == "InvalidProgram"


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"format": "aotiny-manifest"}'])
def test_manifests_that_are_none(source, tmp_path, text):
    path = models.add_entry(source, tmp_path / "m.pt2", "extra/aotiny.json", text)
    assert failure(aotiny.Model, path).name == "InvalidProgram"
    assert failure(aotiny.inspect, path).name == "InvalidProgram"


@pytest.mark.parametrize("depth", [101, 300_000])
def test_deeply_nested_json(source, tmp_path, depth):
    manifest = '{"format": "aotiny-manifest", "quantization": ' + "[" * (depth - 1)
    text = manifest + "]" * (depth - 1) + "}"
    path = models.add_entry(source, tmp_path / "m.pt2", "extra/aotiny.json", text)
    for call in (aotiny.Model, aotiny.inspect):  # neither may use up the stack
        error = failure(call, path)
        assert error.name == "InvalidProgram" and f"nests {depth} levels deep" in str(error)
    metadata = '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    path = replace(source, tmp_path / "n.pt2", "_metadata.json", metadata)
    assert f"nests {depth} levels deep" in str(failure(aotiny.inspect, path))


def test_brackets_in_strings_are_no_nesting(source, tmp_path):
    text = json.dumps({"AOTI_PLATFORM": "linux", "note": '"[{' * 200 + "\\"})
    path = replace(source, tmp_path / "m.pt2", "_metadata.json", text)
    (model,) = aotiny.inspect(path)["models"].values()
    assert model["metadata"]["note"].count("[") == 200


def test_names_that_are_no_utf8(source, tmp_path):
    missing = tmp_path / os.fsdecode(b"\xff\xfe.pt2")
    error = failure(aotiny.Model, missing)
    assert error.name == "NotFound" and "\ufffd" in str(error)
    missing.write_bytes(source.read_bytes())
    model = aotiny.Model(missing)
    assert model.path == str(missing) and "1 inputs" in repr(model)
    assert "\ufffd" in aotiny.inspect(missing)["path"]


def test_inspect_runs_no_code(tmp_path):
    # A dependency named by its path could be anything, this very package included.
    (tmp_path / "helper.c").write_text(
        "#include <stdio.h>\n"
        f'__attribute__((constructor)) void run(void) {{ fopen("{tmp_path}/ran", "w"); }}\n'
        "int helper(void) { return 1; }\n"
    )
    (tmp_path / "code.c").write_text("int helper(void); int f(void) { return helper(); }\n")
    helper, code = tmp_path / "helper.so", tmp_path / "code.so"
    build = ["cc", "-shared", "-fPIC"]
    subprocess.run([*build, str(tmp_path / "helper.c"), "-o", str(helper)], check=True)
    subprocess.run([*build, str(tmp_path / "code.c"), str(helper), "-o", str(code)], check=True)
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("m/data/aotinductor/model/m.wrapper.so", code.read_bytes())
    (model,) = aotiny.inspect(path)["models"].values()
    assert str(helper) in model["needed"] and model["missing_symbols"] == ["helper"]
    error = failure(aotiny.Model, path)
    assert error.name == "OperatorMissing" and "helper" in str(error)
    assert not (tmp_path / "ran").exists()
