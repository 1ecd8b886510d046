"""Runs a backend on the models of `typed_models.py`, in a process of its own, as a worker does.

`python features.py BACKEND FOLDER` prints one JSON object with what was seen.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import checks  # type: ignore[import-not-found]  # beside this file, which is run as a script
import numpy as np
import typed_models  # type: ignore[import-not-found]

from quadriga.backends import tensorflow_runtime
from quadriga.backends.base import ModelSource
from quadriga.specs import TensorSpec
from quadriga_proto.codec import numpy_dtype


def doubled(backend_name: str, path: Path, datatype: str) -> dict[str, Any]:
    """What comes of one to six, and what the contract says of it."""
    backend, spec = checks.load(backend_name, path)
    backend.warm_up(spec, [2, 1])
    memory = np.arange(1, 7).reshape(2, 3).astype(numpy_dtype(datatype)).tobytes()
    view = np.frombuffer(memory, numpy_dtype(datatype)).reshape(2, 3)
    (output,) = backend.infer([view])
    return {
        "inputs": checks.tensors(spec.inputs),
        "outputs": checks.tensors(spec.outputs),
        "dtype": str(output.dtype),
        "values": output.astype(np.float64).tolist(),
    }


def of_scale(path: Path) -> dict[str, Any]:
    """An ONNX model with an initializer that may be overridden, declared and not."""
    x = TensorSpec(name="x", datatype="FP32", shape=(-1, 3))
    scale = TensorSpec(name="scale", datatype="FP32", shape=(1,), optional=True)
    ones = np.ones((1, 3), np.float32)
    plain, plain_spec = checks.load("onnx", path)
    backend, spec = checks.load("onnx", path, inputs=(scale, x), batches=False)
    backend.warm_up(spec, [1])
    by_name = {"x": ones, "scale": np.array([4], np.float32)}
    order = [tensor.name for tensor in spec.inputs]
    return {
        "undeclared": [checks.tensors(plain_spec.inputs), plain.infer([ones])[0].tolist()],
        "optional": [tensor.name for tensor in spec.inputs if tensor.optional],
        "given": backend.infer([by_name[name] for name in order])[0].tolist(),
        "left out": backend.infer([by_name[name] if name == "x" else None for name in order])[0].tolist(),
        "refused": checks.load_error(
            "onnx", path, inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 3), optional=True),), batches=False
        ),
    }


def of_mask(backend_name: str, path: Path) -> dict[str, Any]:
    """A Keras model with an optional input."""
    backend, spec = checks.load(backend_name, path)
    backend.warm_up(spec, [2, 1])
    x, mask = np.zeros((1, 3), np.float32), np.array([[True, False, True]])
    without = [tensor.name for tensor in spec.inputs if tensor.optional]
    required = (
        TensorSpec(name="x", datatype="FP32", shape=(3,)),
        TensorSpec(name="mask", datatype="BOOL", shape=(3,)),
    )
    return {
        "optional": without,
        "left out": backend.infer([x, None])[0].tolist(),
        "given": backend.infer([x, mask])[0].tolist(),
        "declared as required": [
            tensor.optional for tensor in checks.load(backend_name, path, inputs=required, batches=True)[1].inputs
        ],
    }


def refused_optional(backend_name: str, path: Path, datatype: str) -> str:
    """What is said where the configuration calls the only input optional."""
    tensor = TensorSpec(name="x", datatype=datatype, shape=(3,), optional=True)
    error: str = checks.load_error(backend_name, path, inputs=(tensor,), batches=True)
    return error


def check(backend_name: str, folder: Path) -> dict[str, Any]:
    """Everything that is checked of a backend."""
    variant, parameters = checks.VARIANTS.get(backend_name, (backend_name, {}))
    os.environ["KERAS_BACKEND"] = parameters.get("keras_backend", "tensorflow")
    if backend_name in ("tensorflow", "keras"):
        source = ModelSource(path=str(folder))
        tensorflow_runtime.prepare(source)
        tensorflow_runtime.import_tensorflow(source)
    typed_models.write_repository(variant, folder)
    file = typed_models.DOUBLING[variant][0]
    paths = {name: folder / f"{variant}_{name}" / "1" / file for name in ("fp16", "bf16", "mask", "scale")}
    seen: dict[str, Any] = {
        datatype: doubled(backend_name, paths[datatype.lower()], datatype) for datatype in typed_models.HALVES
    }
    seen["refused"] = refused_optional(backend_name, paths["fp16"], "FP16")
    if variant == "onnx":
        seen["scale"] = of_scale(paths["scale"])
    if variant == "keras":
        seen["mask"] = of_mask(backend_name, paths["mask"])
    return seen


if __name__ == "__main__":
    print("\n" + json.dumps(check(sys.argv[1], Path(sys.argv[2]))))
