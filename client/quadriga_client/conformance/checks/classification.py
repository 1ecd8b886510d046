"""Checks of the classification extension: the top k of an output's elements as text."""

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.images import image_request
from quadriga_client.conformance.checks.sources import triton
from quadriga_client.conformance.outcomes import Failed, Level, Unsupported
from quadriga_client.conformance.target import Target
from quadriga_client.conformance.tensors import Tensor, outputs_of
from quadriga_client.conformance.wire import UNIMPLEMENTED, Reply
from quadriga_proto import inference_pb2 as pb

GROUP = "triton.classification"
_SOURCE = triton("classification")
_EXTENSION = "classification"


@register(
    "TRITON-CLASS-TOP-K", GROUP, Level.SHOULD, "classification=k makes an output BYTES of k elements per row.",
    source=_SOURCE, roles=["image"],
)  # fmt: skip
def top_k(target: Target) -> None:
    classes = _classes(target, 2)
    if classes.shape[-1] != 2:
        raise Failed(f"the output is {classes}; expected 2 elements per row")


@register(
    "TRITON-CLASS-FORMAT", GROUP, Level.SHOULD, "An element is value:index, or value:index:label.", source=_SOURCE,
    roles=["image"],
)  # fmt: skip
def element_format(target: Target) -> str:
    elements = _elements(_classes(target, 2))
    for element in elements:
        parts = element.split(":", 2)
        if len(parts) < 2 or not parts[1].isdecimal():
            raise Failed(f"an element is {element!r}; expected value:index or value:index:label")
        float(parts[0])
    return elements[0]


@register(
    "TRITON-CLASS-ORDER", GROUP, Level.SHOULD, "The elements are the largest of the output, the largest first.",
    source=_SOURCE, roles=["image"],
)  # fmt: skip
def order(target: Target) -> None:
    model = target.image()
    scores = target.answer(image_request(model))[model.outputs[0].name].array().ravel()
    elements = [element.split(":", 2) for element in _elements(_classes(target, 2))]
    found = [(float(value), int(index)) for value, index, *_ in elements]
    best = sorted(scores.tolist(), reverse=True)[:2]
    for (value, index), wanted in zip(found, best, strict=True):
        # The text has six decimals.
        if abs(value - wanted) > 1e-4 or abs(float(scores[index]) - wanted) > 1e-4:
            raise Failed(f"the elements are {found}; the largest scores are {best}")


@register(
    "TRITON-CLASS-ALL", GROUP, Level.SHOULD, "A k above the number of classes gives all of them.", source=_SOURCE,
    roles=["image"],
)  # fmt: skip
def more_than_all(target: Target) -> None:
    classes = target.image().outputs[0].shape[-1]
    found = _classes(target, classes + 5)
    if found.shape[-1] != classes:
        raise Failed(f"the output is {found}; expected {classes} elements per row")


@register(
    "TRITON-CLASS-LABELS", GROUP, Level.MAY, "Elements carry labels where the model has some.", source=_SOURCE,
    roles=["image"],
)  # fmt: skip
def labels(target: Target) -> str:
    return "labels" if _elements(_classes(target, 1))[0].count(":") > 1 else "no labels"


@register(
    "TRITON-CLASS-TYPE", GROUP, Level.SHOULD, "A classification that is no int64 is refused.", source=_SOURCE,
    roles=["image"],
)  # fmt: skip
def wrong_type(target: Target) -> str:
    _classes(target, 1)
    return _ask(target, "three").refused("classification='three'")


@register(
    "TRITON-CLASS-NEGATIVE", GROUP, Level.SHOULD, "A classification below 1 is refused.", source=_SOURCE,
    roles=["image"],
)  # fmt: skip
def negative(target: Target) -> str:
    _classes(target, 1)
    return _ask(target, -1).refused("classification=-1")


def _ask(target: Target, k: int | str) -> Reply:
    model = target.image()
    request = image_request(model)
    output = request.outputs.add(name=model.outputs[0].name)
    if isinstance(k, int):
        output.parameters["classification"].int64_param = k
    else:
        output.parameters["classification"].string_param = k
    return target.attempt(request)


def _classes(target: Target, k: int) -> Tensor:
    """The output, classified.

    Raises:
        Unsupported: The server does not classify: it refuses, or ignores the parameter and does not advertise it.
        Failed: It advertises the extension, and does neither.
    """
    reply = _ask(target, k)
    advertised = _EXTENSION in target.extensions
    if reply.code == UNIMPLEMENTED:
        raise Unsupported(f"ModelInfer answered {reply}")
    (classes, *_) = outputs_of(reply.read(pb.ModelInferResponse)).values()
    if classes.datatype != "BYTES":
        problem = f"the output is {classes.datatype}{list(classes.shape)} with classification={k}"
        if advertised:
            raise Failed(f"{problem}; expected BYTES, as 'classification' is advertised")
        raise Unsupported(f"{problem}, and 'classification' is not advertised")
    return classes


def _elements(classes: Tensor) -> list[str]:
    return [element.decode(errors="replace") for element in classes.array().ravel().tolist()]
