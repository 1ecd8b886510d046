"""Models that try a backend's datatypes and its optional inputs, written with the real frameworks. Run as a script.

`python typed_models.py BACKEND FOLDER` writes a model repository of one backend's models, for the system tests;
`features.py` makes the same ones for the backends alone. BACKEND_fp16 and BACKEND_bf16 double their input.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: By datatype of the protocol: the dtype's name in the frameworks.
HALVES = {"FP16": "float16", "BF16": "bfloat16"}


def make_tensorflow(path: Path, dtype: str) -> None:
    import tensorflow as tf

    class Doubling(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, 3), getattr(tf, dtype), name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return {"y": x + x}

    doubling = Doubling()
    tf.saved_model.save(doubling, str(path), signatures={"serving_default": doubling.__call__})


def make_tensorflow_text(path: Path) -> None:
    """Text [n, 2] to upper case, and to the lengths of its elements."""
    import tensorflow as tf

    class Text(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.string, name="text")])  # type: ignore[untyped-decorator]
        def __call__(self, text: Any) -> Any:
            return {"upper": tf.strings.upper(text), "length": tf.strings.length(text)}

    text = Text()
    tf.saved_model.save(text, str(path), signatures={"serving_default": text.__call__})


def make_keras(path: Path, dtype: str) -> None:
    import keras

    x = keras.Input((3,), name="x", dtype=dtype)
    keras.Model(x, keras.layers.Add(name="y", dtype=dtype)([x, x])).save(path)


def make_keras_mask(path: Path) -> None:
    """A softmax over what an optional mask leaves."""
    import keras

    x = keras.Input((3,), name="x")
    mask = keras.Input((3,), name="mask", dtype="bool", optional=True)
    keras.Model([x, mask], keras.layers.Softmax(name="y")(x, mask=mask)).save(path)


def make_torchscript(path: Path, dtype: str) -> None:
    import json

    import torch

    class Doubling(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x + x

    datatype = next(name for name, known in HALVES.items() if known == dtype)
    tensors = {
        "inputs": [{"name": "x", "datatype": datatype, "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": datatype, "shape": [-1, 3]}],
    }
    traced = torch.jit.trace(Doubling(), torch.zeros(2, 3, dtype=getattr(torch, dtype)))
    torch.jit.save(traced, str(path), _extra_files={"quadriga.json": json.dumps(tensors)})


def make_onnx(path: Path, dtype: str) -> None:
    """In bfloat16 by way of float32, since ONNX Runtime adds no bfloat16 on a CPU."""
    from onnx import TensorProto, helper

    kind = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}[dtype]
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=kind),
    ]
    inputs, outputs = ([helper.make_tensor_value_info(name, kind, [None, 3])] for name in "xy")
    save_onnx(helper.make_graph(nodes, "doubling", inputs, outputs), path)


def make_onnx_scale(path: Path) -> None:
    """Its input times an initializer that a request may override."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        "scale",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(np.array([10], np.float32), "scale")],
    )
    save_onnx(graph, path)


def make_onnx_text(path: Path) -> None:
    """Answers with its text."""
    from onnx import TensorProto, helper

    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.STRING, [None, 2])] for name in ("text", "same")
    )
    save_onnx(helper.make_graph([helper.make_node("Identity", ["text"], ["same"])], "text", inputs, outputs), path)


def save_onnx(graph: Any, path: Path) -> None:
    import onnx
    from onnx import helper

    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


#: By backend: the name of its file, and what writes a model that doubles numbers of a dtype.
DOUBLING: dict[str, tuple[str, Callable[[Path, str], None]]] = {
    "tensorflow": ("model.savedmodel", make_tensorflow),
    "keras": ("model.keras", make_keras),
    "torchscript": ("model.pt", make_torchscript),
    "onnx": ("model.onnx", make_onnx),
}
#: Further models by backend, by name.
OTHERS: dict[str, dict[str, Callable[[Path], None]]] = {
    "tensorflow": {"text": make_tensorflow_text},
    "keras": {"mask": make_keras_mask},
    "onnx": {"scale": make_onnx_scale, "text": make_onnx_text},
}


def write_repository(backend: str, folder: Path) -> None:
    """A folder per model, named BACKEND_fp16 and so on, each with one version and no configuration."""
    file, make = DOUBLING[backend]
    for datatype, dtype in HALVES.items():
        make(version_folder(folder, f"{backend}_{datatype.lower()}") / file, dtype)
    for name, make_other in OTHERS.get(backend, {}).items():
        make_other(version_folder(folder, f"{backend}_{name}") / file)


def version_folder(folder: Path, model: str) -> Path:
    """The folder of a model's first version."""
    version = folder / model / "1"
    version.mkdir(parents=True)
    return version


if __name__ == "__main__":
    write_repository(sys.argv[1], Path(sys.argv[2]))
