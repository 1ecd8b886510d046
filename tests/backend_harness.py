"""Makes tiny models with the real frameworks, and runs a backend on them in a process of its own, as a worker does.

`python tests/backend_harness.py make BACKEND FOLDER` writes good and bad models; `... check BACKEND FOLDER` prints one
JSON object with what the backend made of them. pytest's process itself never imports a framework.
"""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5) / 7
BIAS = np.array([0.5, -0.25, 0.0], np.float32)
SIZES = (1, 3, 8)


def reference(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What every tiny model computes: relu(x W + b)."""
    return np.maximum(rows @ WEIGHTS + BIAS, 0)


def make_tensorflow(path: Path) -> None:
    import tensorflow as tf

    class Tiny(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights, self.bias = tf.Variable(WEIGHTS), tf.Variable(BIAS)

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
        def __call__(self, x: Any) -> Any:
            return {"y": tf.nn.relu(x @ self.weights + self.bias)}

    tiny = Tiny()
    tf.saved_model.save(tiny, str(path), signatures=tiny.__call__)


def make_keras(path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, activation="relu", name="y")])
    model.set_weights([WEIGHTS, BIAS])
    model.save(path)


def make_torchscript(path: Path, *, metadata: bool = True) -> None:
    import torch

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.from_numpy(WEIGHTS.copy()))
            self.bias = torch.nn.Parameter(torch.from_numpy(BIAS.copy()))

        def forward(self, x: Any) -> Any:
            return torch.relu(x @ self.weights + self.bias)

    tensors = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        "labels": ["a", "b", "c"],
    }
    extra = {"quadriga.json": json.dumps(tensors)} if metadata else {}
    torch.jit.save(torch.jit.trace(Tiny().eval(), torch.zeros(1, 4)), str(path), _extra_files=extra)


def make_onnx(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])],
        [numpy_helper.from_array(WEIGHTS, "weights"), numpy_helper.from_array(BIAS, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"labels": '["a", "b", "c"]'})
    onnx.save(model, str(path))


def make_fake(path: Path) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [4]}
    path.write_text(json.dumps({"inputs": [tensor], "labels": ["a", "b", "c"]}))


MAKERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "tensorflow": ("model.savedmodel", make_tensorflow),
    "keras": ("model.keras", make_keras),
    "torchscript": ("model.pt", make_torchscript),
    "onnx": ("model.onnx", make_onnx),
    "fake": ("model.fake", make_fake),
}


def seen_of(backend_name: str, folder: Path) -> dict[str, Any]:
    """Loads a tiny model and runs it in every way that the contract speaks of."""
    from quadriga.backends import import_backend
    from quadriga.backends.base import ModelSource

    path = folder / MAKERS[backend_name][0]
    source = ModelSource(path=str(path))
    backend = import_backend(backend_name)()
    backend.prepare(source)
    spec = backend.load(source)
    backend.warm_up(spec, range(max(SIZES), 0, -1))
    expected = (lambda rows: rows) if backend_name == "fake" else reference
    differences = []
    for size in (*SIZES, *reversed(SIZES)):
        rows = np.random.default_rng(size).standard_normal((size, 4)).astype(np.float32)
        memory = bytearray(rows.tobytes())
        view = np.frombuffer(memoryview(memory).toreadonly(), np.float32).reshape(size, 4)
        outputs = [np.array(output) for output in backend.infer([view])]
        differences.append(float(np.abs(outputs[0] - expected(rows)).max()))
    return {
        "inputs": [[tensor.name, tensor.datatype, list(tensor.shape)] for tensor in spec.inputs],
        "outputs": [[tensor.name, tensor.datatype, list(tensor.shape)] for tensor in spec.outputs],
        "batches": spec.batches,
        "labels": list(spec.labels),
        "largest_difference": max(differences),
        "shape": list(outputs[0].shape),
        "dtype": str(outputs[0].dtype),
        "errors": {name: load_error(backend_name, bad) for name, bad in bad_files(folder).items()},
        "contradictions": contradictions(backend_name, path),
        "grpc": "grpc" in sys.modules and backend_name not in ("tensorflow", "keras"),
    }


def load_error(backend_name: str, path: Path, **options: Any) -> str:
    """The message with which a fresh backend refuses a file; empty when it does not."""
    from quadriga.backends import import_backend
    from quadriga.backends.base import ModelLoadError, ModelSource

    backend = import_backend(backend_name)()
    source = ModelSource(path=str(path), **options)
    try:
        backend.prepare(source)
        backend.load(source)
    except ModelLoadError as error:
        return str(error)
    return ""


def contradictions(backend_name: str, path: Path) -> dict[str, str]:
    """What a backend says when the configuration declares what the file does not have."""
    from quadriga.specs import TensorSpec

    if backend_name == "fake":
        return {}
    wrong = {
        "name": TensorSpec(name="image", datatype="FP32", shape=(4,)),
        "datatype": TensorSpec(name="x", datatype="INT8", shape=(4,)),
        "shape": TensorSpec(name="x", datatype="FP32", shape=(5,)),
    }
    return {key: load_error(backend_name, path, inputs=(tensor,), batches=True) for key, tensor in wrong.items()}


def bad_files(folder: Path) -> dict[str, Path]:
    """What `make` wrote that cannot be loaded, by what is wrong with it."""
    return {path.stem: path for path in (folder / "bad").iterdir()}


def make_bad_files(backend_name: str, good: Path, folder: Path) -> None:
    """Writes files that cannot be loaded."""
    folder.mkdir()
    empty, damaged, other = (folder / f"{name}{good.suffix}" for name in ("empty", "damaged", "other"))
    if backend_name == "tensorflow":
        for broken in (damaged, empty):
            broken.mkdir()
        (damaged / "saved_model.pb").write_bytes(b"\x08\x01" + b"garbage" * 20)
        return
    empty.touch()
    content = good.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    if zipfile.is_zipfile(good):
        other.write_bytes(b"\x08\x07" + bytes(100))
    else:
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("a", "b")
    (folder / f"folder{good.suffix}").mkdir()
    if backend_name == "keras":
        make_custom_layer(folder / "custom.keras")
        make_lambda_layer(folder / "lambda.keras")
    if backend_name == "torchscript":
        make_torchscript(folder / "nameless.pt", metadata=False)


def make_custom_layer(path: Path) -> None:
    """A model with a layer of a class that the loading side does not have."""
    import keras

    class Doubling(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    keras.Sequential([keras.Input((4,)), Doubling()]).save(path)


def make_lambda_layer(path: Path) -> None:
    """A model with Python code in it."""
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2)]).save(path)


if __name__ == "__main__":
    task, name, target = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if task == "make":
        model_name, make_model = MAKERS[name]
        make_model(target / model_name)
        make_bad_files(name, target / model_name, target / "bad")
    else:
        print("\n" + json.dumps(seen_of(name, target)))
