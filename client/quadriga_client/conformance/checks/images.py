"""Checks of ModelInfer with a classifier of images. In the kit's process."""

import math

import numpy as np
import numpy.typing as npt

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import UNWRITTEN, oip
from quadriga_client.conformance.outcomes import Failed, Level, Skipped
from quadriga_client.conformance.roles import RoleModel, image_shape
from quadriga_client.conformance.target import Target
from quadriga_client.conformance.tensors import Tensor, infer_request
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import to_raw

GROUP = "oip.infer"
Images = npt.NDArray[np.float32]
#: Of scores computed alone and in a batch.
_TOLERANCE = 1e-4


@register(
    "OIP-INFER-IMAGE", GROUP, Level.MUST,
    "An image is answered with a finite score for every class that the metadata shows.",
    source=oip("Model Metadata"), roles=["image"],
)  # fmt: skip
def image(target: Target) -> str:
    model = target.image()
    scores = _scores(target, model, _images(model, 1))
    classes = model.outputs[0].shape[-1]
    if scores.shape[-1] != classes or not np.isfinite(scores).all():
        raise Failed(f"the scores are {scores.ravel()[:6].tolist()} of shape {list(scores.shape)}; expected {classes}")
    return f"{classes} classes"


@register(
    "OIP-INFER-IMAGE-ROWS", GROUP, Level.SHOULD, "Images in one request get the scores that each gets alone.",
    source=UNWRITTEN, roles=["image"],
)  # fmt: skip
def image_rows(target: Target) -> None:
    model = target.image()
    if not model.batches:
        raise Skipped(f"{model.name!r} has no open first dimension")
    images = _images(model, 2)
    together = _scores(target, model, images)
    for row in range(2):
        alone = _scores(target, model, images[row : row + 1])
        difference = float(np.abs(together[row] - alone[0]).max())
        if math.isnan(difference) or difference > _TOLERANCE:
            raise Failed(
                f"row {row} of two differs by {difference:g} from the image alone; expected at most {_TOLERANCE:g}"
            )


def image_request(model: RoleModel) -> pb.ModelInferRequest:
    """A request with one image, the same every time."""
    images = _images(model, 1)
    return infer_request(model.name, {model.inputs[0].name: Tensor("FP32", images.shape, to_raw(images))})


def _images(model: RoleModel, rows: int) -> Images:
    shape = image_shape(model, rows=rows)
    return (np.arange(math.prod(shape), dtype=np.float32) * 37 % 101 / 101).reshape(shape).astype(np.float32)


def _scores(target: Target, model: RoleModel, images: Images) -> Images:
    sent = {model.inputs[0].name: Tensor("FP32", images.shape, to_raw(images))}
    answered = target.answer(infer_request(model.name, sent))
    name = model.outputs[0].name
    if name not in answered:
        raise Failed(f"the output {name!r} is not there; got {', '.join(answered) or 'none'}")
    return answered[name].array()
