"""Compares what a backend computes with the framework's plain way, on CNNs, in a process of its own.

`python optimised.py BACKEND FOLDER` prints one JSON object: by model, the largest difference over batches of several
sizes, and for TorchScript whether the graph was rewritten. pytest's process itself never imports a framework.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from quadriga.backends import import_backend
from quadriga.backends.base import Backend, ModelSource

SIZES = (1, 2, 5, 8)
SHAPE = (12, 12, 3)
Array = np.ndarray[Any, Any]
Plain = Callable[[Array], Any]


def images(rows: int) -> Array:
    return np.random.default_rng(rows).random((rows, *SHAPE), np.float32)


def largest_difference(backend: Backend, path: Path, plain: Plain) -> float:
    """Between the backend, which is loaded here, and the plain way, which must be ready."""
    backend.load(ModelSource(path=str(path)))
    sizes = (*SIZES, *reversed(SIZES))
    return max(
        float(np.abs(backend.infer([images(rows)])[0] - np.asarray(plain(images(rows)))).max()) for rows in sizes
    )


def keras_model() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.Conv2D(8, 3, padding="same", activation="relu")(x)])
    x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, strides=2, padding="same")(x))
    model = keras.Model(image, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    random = np.random.default_rng(2)
    for variable in model.variables:
        if variable.path.split("/")[-1] in ("bias", "gamma", "beta", "moving_mean", "moving_variance"):
            variable.assign(random.random(variable.shape) + 0.1)
    return model


def of_keras(folder: Path, backend: Backend) -> dict[str, Any]:
    import keras

    path = folder / "cnn.keras"
    model = keras_model()
    model.save(path)
    return {
        "cnn": largest_difference(backend, path, lambda array: keras.ops.convert_to_numpy(model(array, training=False)))
    }


def of_tensorflow(folder: Path, backend: Backend) -> dict[str, Any]:
    import tensorflow as tf

    path = folder / "cnn.savedmodel"
    keras_model().export(str(path), format="tf_saved_model", verbose=False)
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return {"cnn": largest_difference(backend, path, lambda array: next(iter(signature(tf.constant(array)).values())))}


def of_onnx(folder: Path, backend: Backend) -> dict[str, Any]:
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(3)
    weights = {
        "w": random.random((8, 3, 3, 3)), "b": random.random(8), "scale": random.random(8), "offset": random.random(8),
        "mean": random.random(8), "var": random.random(8) + 0.5,
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "offset", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Add", ["r", "n"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Softmax", ["p"], ["scores"], axis=1),
    ]
    values = [("image", [None, *SHAPE]), ("scores", [None, 8, 1, 1])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values]
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "cnn", ends[:1], ends[1:], tensors)
    path = folder / "cnn.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return {"cnn": largest_difference(backend, path, lambda array: session.run(None, {"image": array})[0])}


def of_torchscript(folder: Path, backend: Backend) -> dict[str, Any]:
    import torch
    import torch_cnns  # type: ignore[import-not-found]  # beside this file, which is run as a script

    from quadriga.backends import torchscript_graph

    seen: dict[str, Any] = {}
    for name, module in torch_cnns.modules().items():
        path = folder / f"{name}.pt"
        torch_cnns.save(module, path, images(2))
        plain = torch.jit.load(str(path)).eval()

        def run(array: Array, plain: Any = plain) -> Any:
            with torch.inference_mode():
                return plain(torch.from_numpy(array.copy())).numpy()

        seen[name] = largest_difference(backend, path, run)
        with torch.inference_mode():
            seen[f"{name} rewritten"] = torchscript_graph.optimise(plain, torch) is not None
    return seen


OWN = {"keras": of_keras, "tensorflow": of_tensorflow, "onnx": of_onnx, "torchscript": of_torchscript}


def main(name: str, folder: Path) -> None:
    """Prepares the backend as a worker does, makes its models and compares."""
    variant, _, runs_on = name.partition("_on_")
    backend: Backend = import_backend(variant)()
    source = ModelSource(path="", parameters={"keras_backend": runs_on} if runs_on else {})
    backend.prepare(source)
    if variant == "tensorflow" or name == "keras":
        # Its threads can be set only before anything runs, which the models' making would be.
        from quadriga.backends import tensorflow_runtime

        tensorflow_runtime.import_tensorflow(source)
    print("\n" + json.dumps(OWN[variant](folder, backend)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
