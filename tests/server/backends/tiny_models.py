"""Tiny models written with the real frameworks: good ones, and files that cannot be loaded. Run by `checks.py`."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5) / 7
BIAS = np.array([0.5, -0.25, 0.0], np.float32)
LABELS = ["a", "b", "c"]


def reference(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What every tiny model computes: relu(x W + b)."""
    return np.maximum(rows @ WEIGHTS + BIAS, 0)


def make_tensorflow(path: Path) -> None:
    """Signatures: serving_default; count, which adds up its calls; look_up, text to numbers and upper case."""
    import tensorflow as tf

    class Tiny(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights, self.bias, self.calls = tf.Variable(WEIGHTS), tf.Variable(BIAS), tf.Variable(0.0)
            keys = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([1, 2], tf.int64))
            self.table = tf.lookup.StaticHashTable(keys, -1)

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return {"y": tf.nn.relu(x @ self.weights + self.bias)}

        @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def count(self, x: Any) -> Any:
            return {"y": x + self.calls.assign_add(1.0)}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])  # type: ignore[untyped-decorator]
        def look_up(self, text: Any) -> Any:
            return {"number": self.table.lookup(text), "upper": tf.strings.upper(text)}

    tiny = Tiny()
    signatures = {"serving_default": tiny.__call__, "count": tiny.count, "look_up": tiny.look_up}
    tf.saved_model.save(tiny, str(path), signatures=signatures)


def make_keras(path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, activation="relu", name="y")])
    model.set_weights([WEIGHTS, BIAS])
    model.save(path)


def make_torchscript(
    path: Path, *, metadata: bool = True, shape: Sequence[int] = (-1, 3), datatype: str = "FP32"
) -> None:
    import torch

    class Tiny(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.from_numpy(WEIGHTS.copy()))
            self.bias = torch.nn.Parameter(torch.from_numpy(BIAS.copy()))

        def forward(self, x: Any) -> Any:
            return torch.relu(x @ self.weights + self.bias)

    tensors = {
        "inputs": [{"name": "x", "datatype": datatype, "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": shape}],
        "labels": LABELS,
    }
    extra = {"quadriga.json": json.dumps(tensors)} if metadata else {}
    torch.jit.save(torch.jit.trace(Tiny().eval(), torch.zeros(1, 4)), str(path), _extra_files=extra)


def make_onnx(path: Path, labels: str = '["a", "b", "c"]') -> None:
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
    helper.set_model_props(model, {"labels": labels})
    onnx.save(model, str(path))


def make_fake(path: Path) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [4]}
    path.write_text(json.dumps({"inputs": [tensor], "labels": LABELS}))


MAKERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "tensorflow": ("model.savedmodel", make_tensorflow),
    "keras": ("model.keras", make_keras),
    "torchscript": ("model.pt", make_torchscript),
    "onnx": ("model.onnx", make_onnx),
    "fake": ("model.fake", make_fake),
}


def make_bad_files(backend: str, good: Path, folder: Path) -> None:
    """Files that cannot be loaded, each named after what is wrong with it."""
    folder.mkdir()
    empty, damaged, other = (folder / f"{name}{good.suffix}" for name in ("empty", "damaged", "other"))
    if backend == "tensorflow":
        for broken in (damaged, empty):
            broken.mkdir()
        (damaged / "saved_model.pb").write_bytes(b"\x08\x01" + b"garbage" * 20)
        make_zip(other, "a")
        return
    empty.touch()
    content = good.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    if zipfile.is_zipfile(good):
        other.write_bytes(b"\x08\x07" + bytes(100))
    else:
        make_zip(other, "a")
    (folder / f"folder{good.suffix}").mkdir()
    if backend == "keras":
        make_custom_layer(folder / "custom.keras")
        make_lambda_layer(folder / "lambda.keras")
        make_zip(folder / "torch.keras", "model/constants.pkl")
        import keras

        keras.Sequential([keras.layers.Dense(2)]).save(folder / "unbuilt.keras")
    if backend == "torchscript":
        import torch

        make_torchscript(folder / "nameless.pt", metadata=False)
        make_torchscript(folder / "untrue.pt", shape=(-1, 7))
        make_torchscript(folder / "untyped.pt", datatype="BYTES")
        torch.save({"weights": torch.zeros(1)}, folder / "state.pt")
    if backend == "onnx":
        make_onnx(folder / "labels.onnx", labels="cats, dogs")


def make_zip(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "b")


def make_custom_layer(path: Path) -> None:
    """A model with a layer of a class that the loading side does not have."""
    import keras

    class Doubling(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    keras.Sequential([keras.Input((4,)), Doubling()]).save(path)


def make_lambda_layer(path: Path) -> None:
    """A model with Python code in it."""
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2)]).save(path)


def make_keras_dictionary(path: Path) -> None:
    """Two inputs and two outputs, each in a dictionary: sum = a + b, difference = a - b."""
    import keras

    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    outputs = {"sum": keras.layers.Add(name="added")([a, b]), "difference": keras.layers.Subtract(name="minus")([a, b])}
    keras.Model({"b": b, "a": a}, outputs).save(path)


def make_keras_images(path: Path) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """A small CNN whose height and width are open; returns what Keras itself computes with it."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, None, 3), name="image"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax", name="scores"),
        ]
    )
    model.save(path)
    return lambda images: np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def make_torch_pair(path: Path) -> None:
    """Two inputs, a tuple of two outputs, one of them bfloat16."""
    import torch

    class Pair(torch.nn.Module):  # type: ignore[misc]
        def forward(self, a: Any, b: Any) -> Any:
            return a + b, (a - b).to(torch.bfloat16)

    torch.jit.save(torch.jit.trace(Pair(), (torch.zeros(1, 2), torch.zeros(1, 2))), str(path))


def make_onnx_text(path: Path) -> None:
    """Gives its text back."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["same"])],
        "text",
        [helper.make_tensor_value_info("text", TensorProto.STRING, [None, 2])],
        [helper.make_tensor_value_info("same", TensorProto.STRING, [None, 2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
