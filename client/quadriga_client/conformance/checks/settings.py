"""Checks of LogSettings and TraceSetting: they are read, written with the values that they have, and refuse others."""

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import UNWRITTEN, triton
from quadriga_client.conformance.outcomes import Failed, Level
from quadriga_client.conformance.target import Target
from quadriga_proto import inference_pb2 as pb

LOGGING = "triton.logging"
TRACE = "triton.trace"
_LOG_KEYS = frozenset({"log_info", "log_warning", "log_error", "log_verbose_level", "log_format"})
_TRACE_KEYS = frozenset({"trace_level", "trace_rate", "trace_count"})
_UNKNOWN_KEY = "quadriga_conformance_no_such_setting"


@register(
    "TRITON-LOG-GET", LOGGING, Level.SHOULD, "LogSettings without settings answers with those in force.",
    source=triton("logging"),
)  # fmt: skip
def log_settings(target: Target) -> str:
    settings = _log(target)
    if missing := _LOG_KEYS - set(settings):
        raise Failed(f"the settings lack {', '.join(sorted(missing))}; got {', '.join(sorted(settings))}")
    return ", ".join(sorted(settings))


@register(
    "TRITON-LOG-SET", LOGGING, Level.SHOULD, "Setting what is in force answers the same settings.",
    source=triton("logging"),
)  # fmt: skip
def log_set(target: Target) -> None:
    before = _log(target)
    request = pb.LogSettingsRequest()
    request.settings["log_verbose_level"].uint32_param = before["log_verbose_level"].uint32_param
    request.settings["log_info"].bool_param = before["log_info"].bool_param
    reply = target.wire.call("LogSettings", request).read(pb.LogSettingsResponse)
    if dict(reply.settings) != before or _log(target) != before:
        raise Failed(f"setting what was in force changed the settings from {before} to {dict(reply.settings)}")


@register(
    "TRITON-LOG-UNKNOWN", LOGGING, Level.MAY, "A log setting that is not known is refused.", source=UNWRITTEN
)  # fmt: skip
def log_unknown(target: Target) -> str:
    _log(target)
    request = pb.LogSettingsRequest()
    request.settings[_UNKNOWN_KEY].bool_param = True
    return target.wire.call("LogSettings", request).refused("a setting that is not known")


@register(
    "TRITON-TRACE-GET", TRACE, Level.SHOULD, "TraceSetting without settings answers with those in force.",
    source=triton("trace"),
)  # fmt: skip
def trace_settings(target: Target) -> str:
    settings = _trace(target)
    if missing := _TRACE_KEYS - set(settings):
        raise Failed(f"the settings lack {', '.join(sorted(missing))}; got {', '.join(sorted(settings))}")
    return ", ".join(sorted(settings))


@register(
    "TRITON-TRACE-MODEL", TRACE, Level.SHOULD, "TraceSetting answers for one model.", source=triton("trace"),
    roles=["echo"],
)  # fmt: skip
def trace_of_model(target: Target) -> None:
    if "trace_level" not in _trace(target, target.echo().name):
        raise Failed("the settings of a model lack trace_level")


@register(
    "TRITON-TRACE-SET", TRACE, Level.SHOULD, "Setting what is in force answers the same settings.",
    source=triton("trace"),
)  # fmt: skip
def trace_set(target: Target) -> None:
    before = _trace(target)
    request = pb.TraceSettingRequest()
    request.settings["trace_rate"].value.extend(before["trace_rate"])
    reply = target.wire.call("TraceSetting", request).read(pb.TraceSettingResponse)
    after = {key: list(setting.value) for key, setting in reply.settings.items()}
    if after != before:
        raise Failed(f"setting what was in force changed the settings from {before} to {after}")


@register(
    "TRITON-TRACE-UNKNOWN", TRACE, Level.MAY, "A trace setting that is not known is refused.", source=UNWRITTEN
)  # fmt: skip
def trace_unknown(target: Target) -> str:
    _trace(target)
    request = pb.TraceSettingRequest()
    request.settings[_UNKNOWN_KEY].value.append("1")
    return target.wire.call("TraceSetting", request).refused("a setting that is not known")


def _log(target: Target) -> dict[str, pb.LogSettingsResponse.SettingValue]:
    return dict(target.wire.call("LogSettings").read(pb.LogSettingsResponse).settings)


def _trace(target: Target, model: str = "") -> dict[str, list[str]]:
    reply = target.wire.call("TraceSetting", pb.TraceSettingRequest(model_name=model))
    return {key: list(setting.value) for key, setting in reply.read(pb.TraceSettingResponse).settings.items()}
