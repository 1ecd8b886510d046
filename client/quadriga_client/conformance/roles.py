"""Models of known behaviour that the checks need, and whether the models named for them can be those.

Names of tensors are read from ModelMetadata. What a model computes is not tried here: a wrong sum is for a check to
find.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from quadriga_client.conformance.outcomes import Skipped
from quadriga_client.conformance.tensors import ANY, Spec, Tensor, example, spec_of
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import DATATYPES

ECHO: Final = "echo"
ADD: Final = "add"
IMAGE: Final = "image"
#: Role -> what its model does, and what its metadata has to show for it.
ROLES: Final[Mapping[str, str]] = {
    ECHO: "output i repeats input i: as many outputs as inputs, whose datatypes and ranks agree in order; several "
    "models, one per datatype, and one with two inputs alike",
    ADD: "the first output is the sum of two inputs, the second, if there is one, the first minus the second; all of "
    "one numeric datatype and rank",
    IMAGE: "scores of an image's classes: one FP32 input of rank 3 or 4 with 1, 3 or 4 channels, first or last, and "
    "one FP32 output whose last size is known",
}

#: Datatypes of the echo models that `quadriga zoo conformance` writes; ONNX Runtime's Python has no BF16.
ZOO_DATATYPES: Final = tuple(datatype for datatype in DATATYPES if datatype != "BF16")
#: The models that `quadriga zoo conformance` writes: what a run takes where no model is named.
ZOO_MODELS: Final[Mapping[str, tuple[str, ...]]] = {
    ECHO: ("conformance_pair", *(f"conformance_echo_{datatype.lower()}" for datatype in ZOO_DATATYPES)),
    ADD: ("conformance_add",),
    IMAGE: ("conformance_image",),
}
_CHANNELS: Final = (1, 3, 4)
_IMAGE_RANKS: Final = (3, 4)
_IMAGE_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class RoleModel:
    """A model that may play a role, as its metadata shows it."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]

    @property
    def batches(self) -> bool:
        """Whether every input and output has an open first dimension."""
        return all(tensor.shape[:1] == (ANY,) for tensor in (*self.inputs, *self.outputs))

    def examples(self, *, seed: int = 0, rows: int = 1, **sizes: int) -> dict[str, Tensor]:
        """A tensor for each input, each with values of its own."""
        return {
            spec.name: example(spec.datatype, spec.sized(rows=rows, **sizes), seed=seed + 7 * place)
            for place, spec in enumerate(self.inputs)
        }

    def echoed(self, sent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What an echo model has to answer, by output."""
        return {output.name: sent[spec.name] for spec, output in zip(self.inputs, self.outputs, strict=True)}


def read_model(metadata: pb.ModelMetadataResponse, name: str) -> RoleModel:
    """A model by its metadata."""
    return RoleModel(
        name, tuple(metadata.versions), tuple(map(spec_of, metadata.inputs)), tuple(map(spec_of, metadata.outputs))
    )


def why_not(role: str, model: RoleModel) -> str:
    """Why a model cannot play a role, by its metadata; empty where it can."""
    if not model.inputs or not model.outputs:
        return f"its metadata lists {len(model.inputs)} inputs and {len(model.outputs)} outputs; expected some of both"
    return {ECHO: _no_echo, ADD: _no_add, IMAGE: _no_image}[role](model)


def image_shape(model: RoleModel, *, rows: int = 1) -> tuple[int, ...]:
    """A shape that the image model's input takes, with `rows` images where it batches."""
    return model.inputs[0].sized(rows=rows, size=_IMAGE_SIZE)


def pick(models: Sequence[RoleModel], reasons: Sequence[str], what: str) -> RoleModel:
    """The first of the models that fit.

    Raises:
        Skipped: There is none; with the reasons that are known.
    """
    if models:
        return models[0]
    raise Skipped("; ".join(reasons) if reasons else f"no model was given that is {what}")


def _no_echo(model: RoleModel) -> str:
    if len(model.inputs) != len(model.outputs):
        return f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs; expected an output for each input"
    for into, out in zip(model.inputs, model.outputs, strict=True):
        if (into.datatype, len(into.shape)) != (out.datatype, len(out.shape)):
            return (
                f"output {out.name!r} is {out.datatype}{list(out.shape)}; expected that of input {into.name!r}, "
                f"{into.datatype}{list(into.shape)}"
            )
    return ""


def _no_add(model: RoleModel) -> str:
    tensors = (*model.inputs, *model.outputs)
    kinds = {(tensor.datatype, len(tensor.shape)) for tensor in tensors}
    if len(model.inputs) != 2 or len(model.outputs) > 2 or len(kinds) != 1:
        return f"expected two inputs and one or two outputs of one datatype and rank, got {_described(tensors)}"
    if model.inputs[0].datatype in ("BOOL", "BYTES", "BF16"):
        return f"its datatype is {model.inputs[0].datatype}; expected one that numbers are added in"
    return ""


def _no_image(model: RoleModel) -> str:
    tensors = (*model.inputs, *model.outputs)
    if len(tensors) != 2 or {tensor.datatype for tensor in tensors} != {"FP32"}:
        return f"expected one FP32 input and one FP32 output, got {_described(tensors)}"
    shape = model.inputs[0].shape
    if len(shape) not in _IMAGE_RANKS or not {shape[-1], shape[-3]} & set(_CHANNELS):
        return f"its input is {_described(model.inputs)}; expected an image with 1, 3 or 4 channels first or last"
    if model.outputs[0].shape[-1:] <= (1,):
        return f"its output is {_described(model.outputs)}; expected a known number of classes, at least 2"
    return ""


def _described(tensors: Sequence[Spec]) -> str:
    return ", ".join(f"{tensor.name} {tensor.datatype}{list(tensor.shape)}" for tensor in tensors)
