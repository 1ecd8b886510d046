"""The models of known behaviour that `quadriga conformance` asks for, as ONNX. Runs in a zoo job.

Opset and IR version are old enough for any runtime of the last years, and the configurations are ones that Triton and
Quadriga both read. Nothing is trained: the classifier's weights are fixed numbers, and its classes mean nothing.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quadriga_client.conformance.roles import ADD, ECHO, IMAGE, ZOO_MODELS
from quadriga_zoo.formats import file_name
from quadriga_zoo.networks import INPUT, OUTPUT

_OPSET: Final = 13
_IR_VERSION: Final = 7
_MAX_BATCH_SIZE: Final = 8
_SIDE: Final = 32
_CHANNELS: Final = 3
_LABELS: Final = ("apple", "boat", "cloud", "door", "egg", "fern", "goat")
_SEED: Final = 20
#: Where the protocol and ONNX call a datatype by different names.
_ONNX_NAMES: Final = {"FP16": "FLOAT16", "FP32": "FLOAT", "FP64": "DOUBLE", "BYTES": "STRING"}

Shape = Sequence[int | str]


def write_conformance_models(target: Path) -> list[str]:
    """Writes every model's folder into `target`; returns their names."""
    pair, *echoes = ZOO_MODELS[ECHO]
    _write(target / pair, "FP32", [("a", "a_again"), ("b", "b_again")])
    for name in echoes:
        _write(target / name, name.rpartition("_")[2].upper(), [("x", "y")])
    (add,) = ZOO_MODELS[ADD]
    _write_add(target / add)
    (image,) = ZOO_MODELS[IMAGE]
    _write_image(target / image)
    return [pair, *echoes, add, image]


def _write(folder: Path, datatype: str, tensors: Sequence[tuple[str, str]]) -> None:
    """An echo: each output is its input; rows of any length."""
    nodes = [helper.make_node("Identity", [into], [out]) for into, out in tensors]
    inputs = [_value(into, datatype, ("rows", "size")) for into, _ in tensors]
    outputs = [_value(out, datatype, ("rows", "size")) for _, out in tensors]
    _save(folder, nodes, inputs, outputs)


def _write_add(folder: Path) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    inputs = [_value(name, "FP32", ("rows", 4)) for name in ("a", "b")]
    outputs = [_value(name, "FP32", ("rows", 4)) for name in ("sum", "difference")]
    _save(folder, nodes, inputs, outputs)


def _write_image(folder: Path) -> None:
    """One convolution, its mean over the image, and a softmax."""
    draw = np.random.default_rng(_SEED)
    weights = {
        "kernel": draw.normal(size=(6, _CHANNELS, 3, 3)),
        "bias": draw.normal(size=6),
        "matrix": draw.normal(size=(6, len(_LABELS))),
    }
    nodes = [
        helper.make_node("Transpose", [INPUT], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel", "bias"], ["features"], strides=[2, 2]),
        helper.make_node("Relu", ["features"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["means"]),
        helper.make_node("Flatten", ["means"], ["row"]),
        helper.make_node("MatMul", ["row", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [OUTPUT], axis=1),
    ]
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    inputs = [_value(INPUT, "FP32", ("rows", _SIDE, _SIDE, _CHANNELS))]
    outputs = [_value(OUTPUT, "FP32", ("rows", len(_LABELS)))]
    _save(folder, nodes, inputs, outputs, constants, _LABELS)


def _value(name: str, datatype: str, shape: Shape) -> Any:  # noqa: ANN401 - onnx has no types
    return helper.make_tensor_value_info(name, getattr(TensorProto, _ONNX_NAMES.get(datatype, datatype)), list(shape))


def _save(
    folder: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: Sequence[Any] = (),
    labels: Sequence[str] = (),
) -> None:
    graph = helper.make_graph(nodes, folder.name, inputs, outputs, constants)
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="quadriga_zoo")
    onnx.checker.check_model(model, full_check=True)
    (folder / "1").mkdir(parents=True)
    onnx.save(model, str(folder / "1" / file_name("onnx")))
    if labels:
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    config = [f'name: "{folder.name}"', 'platform: "onnxruntime_onnx"', f"max_batch_size: {_MAX_BATCH_SIZE}"]
    config += [_configured("input", value) for value in inputs]
    config += [_configured("output", value, 'label_filename: "labels.txt"' if labels else "") for value in outputs]
    (folder / "config.pbtxt").write_text("\n".join([*config, "dynamic_batching { }", ""]))
    # The zoo tells by this file which folders it made.
    (folder / "export.json").write_text(json.dumps({"format": "onnx", "purpose": "quadriga conformance"}) + "\n")


def _configured(kind: str, value: Any, more: str = "") -> str:  # noqa: ANN401
    """A tensor in Triton's configuration: without its rows, -1 where it is open."""
    names = {onnx_name: name for name, onnx_name in _ONNX_NAMES.items()}
    onnx_name = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    datatype = "STRING" if onnx_name == "STRING" else names.get(onnx_name, onnx_name)
    sizes = [dimension.dim_value or -1 for dimension in value.type.tensor_type.shape.dim[1:]]
    return f'{kind} [ {{ name: "{value.name}" data_type: TYPE_{datatype} dims: {sizes} {more}}} ]'
