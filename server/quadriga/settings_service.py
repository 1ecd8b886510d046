"""The rpcs LogSettings and TraceSetting: what the log shows, and tracing, which is off. Server process."""

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
    ) -> None:
        """Starts from the log's settings at the start; `switch` puts others in force."""
        self._models = models
        self._log_format = log_format
        self._switches = switches_of(log_level)._replace(iso_times=log_format == "json")
        self._switch = switch

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
            Unsupported: A change, which only tracing could honour.
        """
        if request.model_name:
            self._models.find(request.model_name, "")
        for key, setting in request.settings.items():
            if key not in _TRACING_OFF:
                raise InvalidInput(f"trace setting {shown(key)} is not known; there is: {', '.join(_TRACING_OFF)}")
            if setting.value and list(setting.value) != _TRACING_OFF[key]:
                raise Unsupported(f"trace setting {key!r} is {_TRACING_OFF[key]} and stays so: tracing is not served")
        response = pb.TraceSettingResponse()
        for key, value in _TRACING_OFF.items():
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
