"""One contract for every backend, the fake included: the same tiny model in each format, run as a worker runs it."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from installed_backends import ALL, KERAS, NEEDS, REAL, installed

from quadriga.backends import BACKENDS, import_backend

CHECKS = Path(__file__).with_name("checks.py")
TOLERANCE = 1e-6
#: GPUs multiply matrices in TF32, with 10 bits of mantissa.
GPU_TOLERANCE = 1e-2


@cache
def seen(backend: str, *options: str) -> Any:
    """What the checks saw of a backend; run once per backend."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, str(CHECKS), backend, folder, *options]
        result = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_every_backend_is_checked() -> None:
    assert set(BACKENDS) <= set(NEEDS)


@pytest.mark.parametrize("backend", ALL)
def test_the_contract_of_a_model_is_told(backend: str) -> None:
    got = seen(backend)["contract"]
    assert got["inputs"] == [["x", "FP32", [4]]]
    assert got["outputs"] == [["x", "FP32", [4]] if backend == "fake" else ["y", "FP32", [3]]]
    assert got["batches"] is True
    assert got["labels"] == (["a", "b", "c"] if backend in ("fake", "onnx", "torchscript") else [])


@pytest.mark.parametrize("backend", ALL)
def test_every_batch_size_is_computed_right_from_memory_that_is_overwritten_afterwards(backend: str) -> None:
    got = seen(backend)["contract"]
    assert got["largest_difference"] < TOLERANCE
    assert got["dtype"] == "float32"
    assert got["shape"] == [1, 4 if backend == "fake" else 3]


@pytest.mark.gpu
@pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("backend", REAL)
def test_every_batch_size_is_computed_right_on_a_gpu(backend: str) -> None:
    got = seen(backend, "gpu")
    if not got:
        pytest.skip("this build of the framework sees no GPU")
    assert got["largest_difference"] < GPU_TOLERANCE
    assert got["dtype"] == "float32"


@pytest.mark.parametrize("backend", ALL)
def test_bad_files_are_refused_by_name(backend: str) -> None:
    errors = seen(backend)["bad"]
    assert {"damaged", "empty", "other"} <= set(errors)
    for bad, message in errors.items():
        assert message, f"{bad} was loaded"
        assert f"{bad}." in message
        assert bad == "nameless" or "\n" not in message
    missing = seen(backend)["missing"]
    assert "none." in missing
    assert "No such file" in missing


@pytest.mark.parametrize("backend", REAL)
def test_a_configuration_that_contradicts_the_file_is_refused(backend: str) -> None:
    contradictions = seen(backend)["contradictions"]
    assert "declares inputs image, but" in contradictions["name"]
    assert "INT8[4]" in contradictions["datatype"]
    assert "FP32[4]" in contradictions["datatype"]
    assert "FP32[5]" in contradictions["shape"]
    assert "FP32[4]" in contradictions["shape"]


@pytest.mark.parametrize("backend", REAL)
def test_a_framework_that_is_not_installed_is_named_with_its_extra(backend: str) -> None:
    extras = {"onnx": "onnx", "torchscript": "torch", "keras_on_torch": "torch"}
    command = f"pip install 'quadriga[{extras.get(backend, 'tensorflow')}]'"
    if backend == "keras_on_jax":  # for which there is no extra
        command = "pip install jax"
    assert command in seen(backend)["uninstalled"]


@pytest.mark.parametrize("backend", ALL)
def test_no_backend_brings_grpc_into_its_worker(backend: str) -> None:
    assert seen(backend)["grpc"] is False


@installed("onnx")
def test_onnx_says_what_is_wrong_with_a_file() -> None:
    errors = seen("onnx")["bad"]
    assert "is empty; expected an ONNX model" in errors["empty"]
    assert "is a zip archive (a .keras or .pt file?); expected an ONNX model" in errors["other"]
    assert "is a folder" in errors["folder"]
    assert "'labels'" in errors["labels"]


@installed("onnx")
def test_onnx_takes_text_as_utf_8() -> None:
    own = seen("onnx")["own"]
    assert own["text"] == [["text", "BYTES", [2]]]
    assert own["same"] == [["é", ""]]
    assert "UTF-8" in own["error"]


@installed("onnx")
def test_a_configuration_may_keep_a_model_with_an_open_dimension_from_batching() -> None:
    assert seen("onnx")["own"]["unbatched"] == [["text", "BYTES", [-1, 2]]]


@installed("tensorflow")
def test_tensorflow_says_what_is_wrong_with_a_folder() -> None:
    errors = seen("tensorflow")["bad"]
    assert "saved_model.pb" in errors["empty"]
    assert "is a zip archive" in errors["other"]


@installed("tensorflow")
def test_tensorflow_runs_signatures_with_tables_and_with_variables_that_change() -> None:
    own = seen("tensorflow")["own"]
    assert own["text"] == [[["text", "BYTES", []]], [["number", "INT64", []], ["upper", "BYTES", []]]]
    assert own["numbers"] == [1, -1]
    assert own["upper"] == [b"A".hex(), b"Z\xff\x00".hex()]
    assert own["counts"] == [1, 2, 3]
    assert "'other'; it has: serving_default, count, look_up" in own["no signature"]


@pytest.mark.parametrize("backend", KERAS)
def test_keras_says_what_is_wrong_with_a_file(backend: str) -> None:
    errors = seen(backend)["bad"]
    assert "custom class 'Doubling'" in errors["custom"]
    assert "Lambda" in errors["lambda"]
    assert "TorchScript" in errors["torch"]
    assert "keras.Input" in errors["unbuilt"]
    assert "'theano'; expected one of tensorflow, torch, jax" in seen(backend)["own"]["keras_backend"]


@pytest.mark.parametrize("backend", KERAS)
def test_keras_serves_dictionaries_by_their_keys(backend: str) -> None:
    own = seen(backend)["own"]
    inputs, outputs = own["dictionary"]
    assert [name for name, _, _ in inputs] == ["a", "b"]
    assert {name for name, _, _ in outputs} == {"sum", "difference"}
    assert own["values"] == {"sum": [[7, 7]] * 3, "difference": [[3, 3]] * 3}


@pytest.mark.parametrize("backend", KERAS)
def test_keras_serves_images_of_any_size_that_are_too_small_to_warm_up_with(backend: str) -> None:
    own = seen(backend)["own"]
    assert own["images"] == [[["image", "FP32", [-1, -1, 3]]], [["scores", "FP32", [2]]]]
    assert own["difference"] < TOLERANCE


@installed("torchscript")
def test_torchscript_says_what_is_wrong_with_a_file() -> None:
    errors = seen("torchscript")["bad"]
    assert "protocol buffer" in errors["other"]
    assert "torch.save" in errors["state"]
    assert 'max_batch_size = 16\n[[input]]\nname = "image"' in errors["nameless"]
    assert "declared as FP32[2, 7], but the module gives FP32[2, 3]" in errors["untrue"]
    assert "declared as BYTES" in errors["untyped"]


@installed("torchscript")
def test_torchscript_takes_its_contract_from_the_configuration() -> None:
    own = seen("torchscript")["own"]
    assert own["pair"] == [
        [["a", "FP32", [2]], ["b", "FP32", [2]]],
        [["sum", "FP32", [2]], ["gap", "BF16", [2]]],
    ]
    assert own["values"] == [[[7, 7]] * 3, [[3, 3]] * 3]
    assert own["dtypes"] == ["float32", "bfloat16"]


@installed("torchscript")
def test_a_configuration_that_contradicts_what_a_torchscript_module_does_is_refused() -> None:
    own = seen("torchscript")["own"]
    assert "declared to have 1 outputs, but gives 2" in own["one output"]
    assert "does not run on what is declared as its inputs, 'a' FP32[2]" in own["one input"]
    assert "declared as BF16[2, 2], but the module gives FP32[2, 2]" in own["type"]


def test_a_backend_of_the_users_own_is_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_backends.py").write_text(
        "from quadriga.backends.fake import FakeBackend\nclass Mine(FakeBackend): pass\nvalue = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert import_backend("my_backends:Mine").__name__ == "Mine"
    for wrong in ("my_backends:Other", "my_backends:value"):
        with pytest.raises(AttributeError):
            import_backend(wrong)
    with pytest.raises(ImportError):
        import_backend("no_such_module:Mine")
