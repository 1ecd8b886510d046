"""Checks of ModelConfig: that the configuration and the metadata are of one model."""

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import triton
from quadriga_client.conformance.outcomes import Failed, Level, Skipped
from quadriga_client.conformance.target import UNKNOWN_MODEL, Target
from quadriga_client.conformance.tensors import ANY
from quadriga_client.conformance.wire import Reply
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.model_config_pb2 import DataType, ModelConfig

GROUP = "triton.config"
_SOURCE = triton("model_configuration")


@register(
    "TRITON-CONFIG-NAME", GROUP, Level.SHOULD, "ModelConfig of a model answers OK with the model's name.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def name(target: Target) -> None:
    model = target.echo()
    came = _config(target, model.name).name
    if came != model.name:
        raise Failed(f"ModelConfig of {model.name!r} names {came!r}")


@register(
    "TRITON-CONFIG-TENSORS", GROUP, Level.SHOULD,
    "The configuration has the metadata's inputs and outputs, by name and datatype.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def tensors(target: Target) -> None:
    model = target.echo()
    config = _config(target, model.name)
    for kind, declared, known in (("input", config.input, model.inputs), ("output", config.output, model.outputs)):
        found = {tensor.name: _datatype(tensor.data_type) for tensor in declared}
        expected = {spec.name: spec.datatype for spec in known}
        if found != expected:
            raise Failed(f"the {kind}s of the configuration are {found}; the metadata has {expected}")


@register(
    "TRITON-CONFIG-BATCH", GROUP, Level.SHOULD,
    "Where max_batch_size is above 0, shapes of the metadata have a first dimension that dims leave out.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def batch(target: Target) -> str:
    model = target.echo()
    config = _config(target, model.name)
    dims = {tensor.name: tuple(tensor.dims) for tensor in config.input}
    for spec in model.inputs:
        expected = (ANY, *dims.get(spec.name, ())) if config.max_batch_size > 0 else dims.get(spec.name, ())
        if spec.shape != expected:
            raise Failed(
                f"max_batch_size {config.max_batch_size} and dims {list(dims.get(spec.name, ()))} of {spec.name!r}; "
                f"the metadata has {list(spec.shape)}"
            )
    return f"max_batch_size {config.max_batch_size}"


@register(
    "TRITON-CONFIG-DEFAULTS", GROUP, Level.SHOULD,
    "The configuration has its defaults filled in: instances and a version policy.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def defaults(target: Target) -> str:
    config = _config(target, target.echo().name)
    if not config.instance_group or config.version_policy.WhichOneof("policy_choice") is None:
        raise Failed(
            f"{len(config.instance_group)} instance groups, version_policy {config.version_policy}; expected both"
        )
    return f"{config.platform or config.backend}, {config.version_policy.WhichOneof('policy_choice')}"


@register(
    "TRITON-CONFIG-VERSION", GROUP, Level.SHOULD, "ModelConfig answers for a version that the metadata lists.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def version(target: Target) -> None:
    model = target.echo()
    if not model.versions:
        raise Skipped(f"ModelMetadata of {model.name!r} lists no versions")
    _ask(target, model.name, model.versions[0]).read(pb.ModelConfigResponse)


@register(
    "TRITON-CONFIG-UNKNOWN", GROUP, Level.SHOULD, "ModelConfig of a model that is not there is an error.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def unknown(target: Target) -> str:
    _config(target, target.echo().name)
    return _ask(target, UNKNOWN_MODEL).refused("a model that is not there")


def _ask(target: Target, name: str, version: str = "") -> Reply:
    return target.wire.call("ModelConfig", pb.ModelConfigRequest(name=name, version=version))


def _config(target: Target, name: str) -> ModelConfig:
    return _ask(target, name).read(pb.ModelConfigResponse).config


def _datatype(number: int) -> str:
    name = DataType.Name(number)
    return "BYTES" if name == "TYPE_STRING" else name.removeprefix("TYPE_")
