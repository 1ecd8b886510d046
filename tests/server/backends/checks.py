"""Makes a backend's tiny models and runs the backend on them, in a process of its own, as a worker does.

`python checks.py BACKEND FOLDER` prints one JSON object with what was seen. pytest's process itself never imports a
framework.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models  # type: ignore[import-not-found]  # beside this file, which is run as a script

from quadriga.backends import import_backend, tensorflow_runtime
from quadriga.backends.base import Backend, ModelLoadError, ModelSource
from quadriga.specs import ModelSpec, TensorSpec

SIZES = (1, 3, 8)
#: Backends that are checked with parameters.
VARIANTS = {f"keras_on_{runs_on}": ("keras", {"keras_backend": runs_on}) for runs_on in ("torch", "jax")}
FRAMEWORKS = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "keras_on_torch": "torch",
    "keras_on_jax": "jax",
    "torchscript": "torch",
    "onnx": "onnxruntime",
}


def load(backend_name: str, path: Path, **options: Any) -> tuple[Backend, ModelSpec]:
    """A backend with a model, as a worker makes it."""
    name, parameters = VARIANTS.get(backend_name, (backend_name, {}))
    backend: Backend = import_backend(name)()
    source = ModelSource(path=str(path), **({"parameters": parameters} | options))
    backend.prepare(source)
    return backend, backend.load(source)


def load_error(backend_name: str, path: Path, **options: Any) -> str:
    """The message with which a fresh backend refuses a file; empty when it does not."""
    try:
        load(backend_name, path, **options)
    except ModelLoadError as error:
        return str(error)
    return ""


def tensors(specs: tuple[TensorSpec, ...]) -> list[list[Any]]:
    return [[tensor.name, tensor.datatype, list(tensor.shape)] for tensor in specs]


def infer_and_overwrite(backend: Backend, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """One batch as a read-only view of memory that is overwritten right after the call; the first output, copied late.

    The fake gives its input back, and the worker would copy it before: so is it here.
    """
    memory = bytearray(rows.tobytes())
    view = np.frombuffer(memoryview(memory).toreadonly(), rows.dtype).reshape(rows.shape)
    output = backend.infer([view])[0]
    if np.shares_memory(output, view):
        output = output.copy()
    memory[:] = b"\xff" * len(memory)
    return np.array(output)


def contract(backend_name: str, path: Path, device: str = "cpu") -> dict[str, Any]:
    """What the tiny model's contract is and how far its results are from the reference, warmed up, in mixed order."""
    backend, spec = load(backend_name, path, device=device)
    backend.warm_up(spec, range(max(SIZES), 0, -1))
    expected = (lambda rows: rows) if backend_name == "fake" else tiny_models.reference
    differences = []
    for size in (*SIZES, *reversed(SIZES)):
        rows = np.random.default_rng(size).standard_normal((size, 4)).astype(np.float32)
        output = infer_and_overwrite(backend, rows)
        differences.append(float(np.abs(output - expected(rows)).max()))
    return {
        "inputs": tensors(spec.inputs),
        "outputs": tensors(spec.outputs),
        "batches": spec.batches,
        "labels": list(spec.labels),
        "largest_difference": max(differences),
        "shape": list(output.shape),
        "dtype": str(output.dtype),
    }


def contradictions(backend_name: str, path: Path) -> dict[str, str]:
    """What a backend says when the configuration declares what the file does not have."""
    wrong = {
        "name": TensorSpec(name="image", datatype="FP32", shape=(4,)),
        "datatype": TensorSpec(name="x", datatype="INT8", shape=(4,)),
        "shape": TensorSpec(name="x", datatype="FP32", shape=(5,)),
    }
    return {key: load_error(backend_name, path, inputs=(tensor,), batches=True) for key, tensor in wrong.items()}


def without_framework(backend_name: str, path: Path) -> str:
    """What a backend says when its framework cannot be imported."""
    sys.modules[FRAMEWORKS[backend_name]] = None  # type: ignore[assignment]  # makes the import fail
    return load_error(backend_name, path)


def of_tensorflow(folder: Path) -> dict[str, Any]:
    path = folder / "model.savedmodel"
    texts, spec = load("tensorflow", path, parameters={"signature": "look_up"})
    text = np.array([b"a", b"z\xff\x00"], dtype=object)
    numbers, upper = texts.infer([text])
    counter, _ = load("tensorflow", path, parameters={"signature": "count"})
    return {
        "text": [tensors(spec.inputs), tensors(spec.outputs)],
        "numbers": numbers.tolist(),
        "upper": [element.hex() for element in upper],
        "counts": [float(counter.infer([np.zeros((1, 1), np.float32)])[0][0, 0]) for _ in range(3)],
        "no signature": load_error("tensorflow", path, parameters={"signature": "other"}),
    }


def of_keras(variant: str, folder: Path) -> dict[str, Any]:
    path = folder / "dictionary.keras"
    tiny_models.make_keras_dictionary(path)
    backend, spec = load(variant, path)
    outputs = backend.infer([np.full((3, 2), 5, np.float32), np.full((3, 2), 2, np.float32)])
    computed = tiny_models.make_keras_images(folder / "images.keras")
    images = np.random.default_rng(5).random((3, 9, 11, 3), np.float32)
    cnn, cnn_spec = load(variant, folder / "images.keras")
    cnn.warm_up(cnn_spec, [2, 1])  # too small for the network: must not fail
    return {
        "dictionary": [tensors(spec.inputs), tensors(spec.outputs)],
        "values": {tensor.name: output.tolist() for tensor, output in zip(spec.outputs, outputs, strict=True)},
        "images": [tensors(cnn_spec.inputs), tensors(cnn_spec.outputs)],
        "difference": float(np.abs(cnn.infer([images])[0] - computed(images)).max()),
        "keras_backend": load_error(variant, path, parameters={"keras_backend": "theano"}),
    }


def of_torchscript(folder: Path) -> dict[str, Any]:
    path = folder / "pair.pt"
    tiny_models.make_torch_pair(path)
    inputs = tuple(TensorSpec(name=name, datatype="FP32", shape=(2,)) for name in ("a", "b"))
    outputs = tuple(
        TensorSpec(name=name, datatype=kind, shape=(2,)) for name, kind in (("sum", "FP32"), ("gap", "BF16"))
    )
    backend, spec = load("torchscript", path, inputs=inputs, outputs=outputs, batches=True)
    arrays = backend.infer([np.full((3, 2), 5, np.float32), np.full((3, 2), 2, np.float32)])
    return {
        "pair": [tensors(spec.inputs), tensors(spec.outputs)],
        "values": [array.astype(np.float32).tolist() for array in arrays],
        "dtypes": [str(array.dtype) for array in arrays],
        "one output": load_error("torchscript", path, inputs=inputs, outputs=outputs[:1], batches=True),
        "one input": load_error("torchscript", path, inputs=inputs[:1], outputs=outputs, batches=True),
        "type": load_error("torchscript", path, inputs=inputs, outputs=(outputs[1], outputs[0]), batches=True),
    }


def of_onnx(folder: Path) -> dict[str, Any]:
    path = folder / "text.onnx"
    tiny_models.make_onnx_text(path)
    backend, spec = load("onnx", path)
    text = np.array([["é".encode(), b""]], dtype=object)
    try:
        backend.infer([np.array([[b"\xff", b""]], dtype=object)])
        error = ""
    except ValueError as raised:
        error = str(raised)
    return {
        "text": tensors(spec.inputs),
        "same": backend.infer([text])[0].tolist(),
        "error": error,
        "unbatched": tensors(load("onnx", path, batches=False)[1].inputs),
    }


OWN: dict[str, Callable[[Path], dict[str, Any]]] = {
    "tensorflow": of_tensorflow,
    "keras": partial(of_keras, "keras"),
    "keras_on_torch": partial(of_keras, "keras_on_torch"),
    "keras_on_jax": partial(of_keras, "keras_on_jax"),
    "torchscript": of_torchscript,
    "onnx": of_onnx,
    "fake": lambda folder: {},
}


def check(backend_name: str, folder: Path) -> dict[str, Any]:
    """Everything that is checked of a backend; what hides its framework comes last."""
    variant, parameters = VARIANTS.get(backend_name, (backend_name, {}))
    os.environ["KERAS_BACKEND"] = parameters.get("keras_backend", "tensorflow")
    name, make = tiny_models.MAKERS[variant]
    path = folder / name
    if backend_name in ("tensorflow", "keras"):
        # Its threads can be set only before anything runs, which the models' making would be.
        source = ModelSource(path=str(path))
        tensorflow_runtime.prepare(source)
        tensorflow_runtime.import_tensorflow(source)
    make(path)
    tiny_models.make_bad_files(variant, path, folder / "bad")
    real = backend_name in FRAMEWORKS
    return {
        "contract": contract(backend_name, path),
        "bad": {bad.stem: load_error(backend_name, bad) for bad in (folder / "bad").iterdir()},
        "missing": load_error(backend_name, folder / f"none{path.suffix}"),
        "contradictions": contradictions(backend_name, path) if real else {},
        "own": OWN[backend_name](folder),
        "grpc": "grpc" in sys.modules,
        "uninstalled": without_framework(backend_name, path) if real else "",
    }


def check_on_gpu(backend_name: str, folder: Path) -> dict[str, Any]:
    """The contract on the first GPU; empty where this build of the framework sees none."""
    variant, parameters = VARIANTS.get(backend_name, (backend_name, {}))
    os.environ["KERAS_BACKEND"] = parameters.get("keras_backend", "tensorflow")
    backend: Backend = import_backend(variant)()
    name, make = tiny_models.MAKERS[variant]
    source = ModelSource(path=str(folder / name), device="cuda:0", parameters=parameters)
    backend.prepare(source)
    if not backend.cuda_devices():
        return {}
    if backend_name in ("tensorflow", "keras"):
        tensorflow_runtime.import_tensorflow(source)
    make(folder / name)
    return contract(backend_name, folder / name, "cuda:0")


if __name__ == "__main__":
    task = check_on_gpu if sys.argv[3:] == ["gpu"] else check
    print("\n" + json.dumps(task(sys.argv[1], Path(sys.argv[2]))))
