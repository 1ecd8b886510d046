"""The rpcs LogSettings and TraceSetting: what the log shows, and whether requests are traced. Server process."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from quadriga.config import LogFormat, LogLevel
from quadriga.errors import InvalidInput, Unsupported, shown
from quadriga.logs import LogSwitches, switch_logging, switches_of
from quadriga.registry import ModelRegistry
from quadriga.transports import Handler
from quadriga.unary import unary
from quadriga_proto import inference_pb2 as pb

#: Names that Triton gives to the times of log lines: of the day, and with the date.
_TIME_FORMATS: Final = ("default", "ISO8601")
_FIELDS: Final = {
    "log_info": "info",
    "log_warning": "warning",
    "log_error": "error",
    "log_verbose_level": "verbose_level",
}
_KINDS: Final = {
    "log_file": "string_param",
    "log_info": "bool_param",
    "log_warning": "bool_param",
    "log_error": "bool_param",
    "log_verbose_level": "uint32_param",
    "log_format": "string_param",
}
#: Triton's settings of tracing, as they stand where nothing is traced.
_TRACING_OFF: Final = {
    "trace_file": [""],
    "trace_level": ["OFF"],
    "trace_rate": ["1000"],
    "trace_count": ["-1"],
    "log_frequency": ["0"],
}


class SettingsService:
    """Answers with the settings in force, and changes those of the log."""

    def __init__(
        self,
        models: ModelRegistry,
        log_format: LogFormat,
        log_level: LogLevel,
        switch: Callable[[LogFormat, LogSwitches], None] = switch_logging,
        trace_sample: float | None = None,
    ) -> None:
        """Starts from the settings at the start; `switch` puts others of the log's in force."""
        self._models = models
        self._log_format = log_format
        self._switches = switches_of(log_level)._replace(iso_times=log_format == "json")
        self._switch = switch
        self._tracing = _tracing(trace_sample)

    def handlers(self) -> Mapping[str, Handler]:
        """The rpcs by method name."""
        return {
            "LogSettings": unary(pb.LogSettingsRequest, self.log_settings),
            "TraceSetting": unary(pb.TraceSettingRequest, self.trace_setting),
        }

    def log_settings(self, request: pb.LogSettingsRequest) -> pb.LogSettingsResponse:
        """Changes all the settings that are given, or none; answers with those in force. One without a value stays.

        Raises:
            InvalidInput: A setting that is not known or cannot be changed, or a value that cannot be.
        """
        values = {key: _value(key, setting) for key, setting in request.settings.items()}
        changes = dict(self._change(key, value) for key, value in values.items() if value is not None)
        if changes:
            self._switches = self._switches._replace(**changes)
            self._switch(self._log_format, self._switches)
        return self._settings_in_force()

    def trace_setting(self, request: pb.TraceSettingRequest) -> pb.TraceSettingResponse:
        """Answers with the settings in force; they can be set to what they are, or cleared.

        Raises:
            InvalidInput: A setting that is not known.
            ModelNotFound: The request names a model that is not known.
            Unsupported: A change, since tracing is settled at the start.
        """
        if request.model_name:
            self._models.find(request.model_name, "")
        for key, setting in request.settings.items():
            if key not in self._tracing:
                raise InvalidInput(f"trace setting {shown(key)} is not known; there is: {', '.join(self._tracing)}")
            if setting.value and list(setting.value) != self._tracing[key]:
                raise Unsupported(
                    f"trace setting {key!r} is {self._tracing[key]} and stays so: the flag --trace-sample decides"
                )
        response = pb.TraceSettingResponse()
        for key, value in self._tracing.items():
            response.settings[key].value.extend(value)
        return response

    def _change(self, key: str, value: Any) -> tuple[str, Any]:  # noqa: ANN401 - of the setting's own type
        """The field of the switches that a setting changes, and its new value."""
        if key == "log_file":
            raise InvalidInput("log setting 'log_file' cannot be changed: the log goes to stderr")
        if key in _FIELDS:
            return _FIELDS[key], value
        if value not in _TIME_FORMATS:
            raise InvalidInput(f"log setting {key!r} is {shown(value)}; expected one of {', '.join(_TIME_FORMATS)}")
        if value == "default" and self._log_format == "json":
            raise InvalidInput(f"log setting {key!r} is 'default'; lines of --log-format json carry ISO8601 alone")
        return "iso_times", value == "ISO8601"

    def _settings_in_force(self) -> pb.LogSettingsResponse:
        response = pb.LogSettingsResponse()
        settings = response.settings
        settings["log_file"].string_param = ""
        for key, field in _FIELDS.items():
            setattr(settings[key], _KINDS[key], getattr(self._switches, field))
        settings["log_format"].string_param = _TIME_FORMATS[self._switches.iso_times]
        return response


def _tracing(sample: float | None) -> Mapping[str, list[str]]:
    """Triton's settings of tracing; its rate is one of so many requests, and 0 those of callers that trace alone."""
    if sample is None:
        return _TRACING_OFF
    return {**_TRACING_OFF, "trace_level": ["TIMESTAMPS"], "trace_rate": [str(round(1 / sample) if sample else 0)]}


def _value(key: str, setting: pb.LogSettingsRequest.SettingValue) -> Any:  # noqa: ANN401 - of the setting's own type
    """A setting's value; None where it has none.

    Raises:
        InvalidInput: It is not known, or its value is of another type.
    """
    if key not in _KINDS:
        raise InvalidInput(f"log setting {shown(key)} is not known; there is: {', '.join(_KINDS)}")
    kind = setting.WhichOneof("parameter_choice")
    if kind is not None and kind != _KINDS[key]:
        raise InvalidInput(f"log setting {key!r} is a {kind}; expected {_KINDS[key]}")
    return None if kind is None else getattr(setting, kind)
