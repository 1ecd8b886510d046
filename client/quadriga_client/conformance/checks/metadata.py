"""Checks of ServerMetadata and ModelMetadata."""

import re

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import oip
from quadriga_client.conformance.outcomes import Failed, Level, Skipped
from quadriga_client.conformance.target import UNKNOWN_MODEL, UNKNOWN_VERSION, Target, valid_request
from quadriga_client.conformance.tensors import ANY
from quadriga_client.conformance.wire import Reply
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import DATATYPES

GROUP = "oip.metadata"
_PLATFORM = re.compile(r"[a-zA-Z0-9.-]+_\w+")


@register(
    "OIP-META-SERVER", GROUP, Level.MUST, "ServerMetadata answers OK.", source=oip("Server Metadata")
)  # fmt: skip
def server(target: Target) -> str:
    metadata = target.wire.call("ServerMetadata").read(pb.ServerMetadataResponse)
    return f"{metadata.name!r} {metadata.version!r}"


@register(
    "OIP-META-SERVER-NAME", GROUP, Level.SHOULD, "ServerMetadata names the server and its version.",
    source=oip("Server Metadata"),
)  # fmt: skip
def server_name(target: Target) -> None:
    metadata = target.wire.call("ServerMetadata").read(pb.ServerMetadataResponse)
    if not metadata.name or not metadata.version:
        raise Failed(f"name {metadata.name!r} and version {metadata.version!r}; expected some text in both")


@register(
    "OIP-META-SERVER-EXTENSIONS", GROUP, Level.SHOULD, "Extensions are named, each once.", source=oip("Server Metadata")
)  # fmt: skip
def server_extensions(target: Target) -> str:
    names = list(target.wire.call("ServerMetadata").read(pb.ServerMetadataResponse).extensions)
    if "" in names or len(set(names)) != len(names):
        raise Failed(f"extensions are {names}; expected names, each once")
    return ", ".join(names) or "none"


@register(
    "OIP-META-MODEL", GROUP, Level.MUST, "ModelMetadata of a model answers OK with the model's name.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def model_name(target: Target) -> None:
    model = target.echo()
    name = _ask(target, model.name).read(pb.ModelMetadataResponse).name
    if name != model.name:
        raise Failed(f"ModelMetadata of {model.name!r} names {name!r}")


@register(
    "OIP-META-DATATYPES", GROUP, Level.MUST, "Tensors have a name and a datatype of the protocol's table.",
    source=oip("Tensor Data Types"), roles=["echo"],
)  # fmt: skip
def datatypes(target: Target) -> None:
    target.echo()
    for model in target.cast():
        for tensor in (*model.inputs, *model.outputs):
            if not tensor.name or tensor.datatype not in DATATYPES:
                raise Failed(
                    f"{model.name!r} has a tensor {tensor.name!r} of datatype {tensor.datatype!r}; "
                    f"expected a name and one of {', '.join(DATATYPES)}"
                )


@register(
    "OIP-META-NAMES-UNIQUE", GROUP, Level.SHOULD, "No two inputs, and no two outputs, of a model share a name.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def names_unique(target: Target) -> None:
    target.echo()
    for model in target.cast():
        for tensors in (model.inputs, model.outputs):
            names = [tensor.name for tensor in tensors]
            if len(set(names)) != len(names):
                raise Failed(f"{model.name!r} has the tensors {names}; expected each name once")


@register(
    "OIP-META-SHAPES", GROUP, Level.MUST, "A dimension of a shape is a size, or -1 where it is variable.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def shapes(target: Target) -> None:
    target.echo()
    for model in target.cast():
        for tensor in (*model.inputs, *model.outputs):
            if any(size < ANY for size in tensor.shape):
                raise Failed(
                    f"{tensor.name!r} of {model.name!r} has shape {list(tensor.shape)}; expected -1 for variable"
                )


@register(
    "OIP-META-SHAPES-HOLD", GROUP, Level.MUST,
    "An output has the datatype that ModelMetadata gives, and fits its shape.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def shapes_hold(target: Target) -> None:
    model = target.echo()
    answered = target.answer(valid_request(model))
    for spec in model.outputs:
        came = answered.get(spec.name)
        if came is None:
            raise Failed(f"output {spec.name!r} of the metadata was not answered; got {', '.join(answered)}")
        fits = len(came.shape) == len(spec.shape) and all(
            want in (ANY, size) for want, size in zip(spec.shape, came.shape, strict=True)
        )
        if came.datatype != spec.datatype or not fits:
            raise Failed(f"output {spec.name!r} is {came}; the metadata has {spec.datatype}{list(spec.shape)}")


@register(
    "OIP-META-PLATFORM", GROUP, Level.SHOULD, "A model's platform is written <project>_<format>.",
    source=oip("Platforms"), roles=["echo"],
)  # fmt: skip
def platform(target: Target) -> str:
    metadata = _ask(target, target.echo().name).read(pb.ModelMetadataResponse)
    if not _PLATFORM.fullmatch(metadata.platform):
        raise Failed(f"platform is {metadata.platform!r}; expected <project>_<format>, such as onnx_onnxv1")
    return metadata.platform


@register(
    "OIP-META-VERSION", GROUP, Level.MUST, "ModelMetadata answers for a version that it lists.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def version(target: Target) -> None:
    model = target.echo()
    if not model.versions:
        raise Skipped(f"ModelMetadata of {model.name!r} lists no versions")
    asked = model.versions[0]
    found = _ask(target, model.name, asked).read(pb.ModelMetadataResponse)
    if asked not in found.versions:
        raise Failed(f"ModelMetadata of version {asked!r} lists {list(found.versions)}; expected it among them")


@register(
    "OIP-META-VERSION-UNKNOWN", GROUP, Level.MUST,
    "ModelMetadata of a version that is not there is an error, where models have versions.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def unknown_version(target: Target) -> str:
    model = target.echo()
    if not model.versions:
        raise Skipped(f"ModelMetadata of {model.name!r} lists no versions")
    return _ask(target, model.name, UNKNOWN_VERSION).refused("a version that is not there")


@register(
    "OIP-META-MODEL-UNKNOWN", GROUP, Level.MUST, "ModelMetadata of a model that is not there is an error.",
    source=oip("Model Metadata"),
)  # fmt: skip
def unknown_model(target: Target) -> str:
    return _ask(target, UNKNOWN_MODEL).refused("a model that is not there")


def _ask(target: Target, name: str, version: str = "") -> Reply:
    return target.wire.call("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version))
