"""Writing a network in a format. Runs in zoo jobs, one framework each."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from quadriga_zoo.networks import INPUT, OUTPUT

Array = npt.NDArray[Any]


class Names(NamedTuple):
    """What the exported files call their tensors, in the source's order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def names_of(model: Any) -> Names:  # noqa: ANN401 - a keras.Model
    """`image` and `scores` for one image in and one tensor out, else the Keras model's own names."""
    if len(model.inputs) == 1 and len(model.outputs) == 1 and len(model.inputs[0].shape) == 4:
        return Names((INPUT,), (OUTPUT,))
    outputs = list(model.output_names)
    if len(set(outputs)) != len(outputs):
        outputs = [f"{OUTPUT}_{index}" for index in range(len(outputs))]
    return Names(tuple(tensor.name for tensor in model.inputs), tuple(outputs))


def write_saved_model(model: Any, names: Names, path: Path) -> None:  # noqa: ANN401
    """A Keras model on TensorFlow as a SavedModel with the signature serving_default."""
    import tensorflow as tf

    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
        for name, tensor in zip(names.inputs, model.inputs, strict=True)
    ]

    def serve(*tensors: Any) -> dict[str, Any]:  # noqa: ANN401
        outputs = model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
        return dict(zip(names.outputs, outputs if isinstance(outputs, (list, tuple)) else [outputs], strict=True))

    module = tf.Module()
    module.variables_ = [variable.value for variable in model.variables]
    signature = tf.function(serve, input_signature=specs, autograph=False)
    tf.saved_model.save(module, str(path), signatures={"serving_default": signature})


def write_onnx(model: Any, names: Names, path: Path, labels: Sequence[str]) -> None:  # noqa: ANN401
    """A Keras model as ONNX, with the names given and the labels in the metadata."""
    model.export(str(path), format="onnx", verbose=False)
    finish_onnx(path, names, labels)


def finish_onnx(path: Path, names: Names, labels: Sequence[str]) -> None:
    """Renames an ONNX file's inputs and outputs, and adds the labels."""
    import onnx

    model = onnx.load(str(path))
    found = [*(value.name for value in model.graph.input), *(value.name for value in model.graph.output)]
    renamed = dict(zip(found, (*names.inputs, *names.outputs), strict=True))
    for value in (*model.graph.input, *model.graph.output):
        value.name = renamed[value.name]
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [renamed.get(name, name) for name in tensors]
    if labels:
        onnx.helper.set_model_props(model, {"labels": json.dumps(list(labels))})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_torchscript(module: Any, examples: Sequence[Array], metadata: dict[str, Any], path: Path) -> None:  # noqa: ANN401
    """A torch module, traced and frozen, with names, shapes and labels embedded as `quadriga.json`."""
    import torch

    inputs = tuple(torch.from_numpy(np.ascontiguousarray(example)) for example in examples)
    with torch.inference_mode():
        traced = torch.jit.trace(module.eval(), inputs, check_trace=False)
        frozen = torch.jit.freeze(traced)
    torch.jit.save(frozen, str(path), _extra_files={"quadriga.json": json.dumps(metadata)})


def tensor_metadata(
    names: Names, inputs: Sequence[Array], outputs: Sequence[Array], labels: Sequence[str]
) -> dict[str, Any]:
    """What `quadriga.json` says: whole shapes, the batch dimension open."""
    from quadriga_proto.codec import datatype_of

    def describe(tensors: Sequence[Array], tensor_names: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {"name": name, "datatype": datatype_of(array.dtype), "shape": [-1, *array.shape[1:]]}
            for name, array in zip(tensor_names, tensors, strict=True)
        ]

    return {
        "inputs": describe(inputs, names.inputs),
        "outputs": describe(outputs, names.outputs),
        "labels": list(labels),
    }
