"""Log and trace settings: what is answered, what is changed, and what is refused by name."""

from typing import Any

import pytest

from quadriga.config import LogFormat, LogLevel
from quadriga.errors import InvalidInput, ModelNotFound, Unsupported
from quadriga.logs import LogSwitches
from quadriga.registry import ModelRegistry
from quadriga.settings_service import SettingsService
from quadriga_proto import inference_pb2 as pb


class Log:
    """A settings service, and what it had put in force."""

    def __init__(
        self, log_format: LogFormat = "console", level: LogLevel = "info", trace_sample: float | None = None
    ) -> None:
        self.switched: list[LogSwitches] = []
        self.service = SettingsService(
            ModelRegistry(), log_format, level, lambda _, switches: self.switched.append(switches), trace_sample
        )

    def set(self, **values: Any) -> dict[str, Any]:
        request = pb.LogSettingsRequest()
        for key, value in values.items():
            kind = {bool: "bool_param", int: "uint32_param", str: "string_param"}[type(value)]
            setattr(request.settings[key], kind, value)
        response = self.service.log_settings(request)
        return {
            key: getattr(value, str(value.WhichOneof("parameter_choice"))) for key, value in response.settings.items()
        }

    def trace(self, model: str = "", **values: list[str]) -> dict[str, list[str]]:
        request = pb.TraceSettingRequest(model_name=model)
        for key, value in values.items():
            request.settings[key].value.extend(value)
        return {key: list(value.value) for key, value in self.service.trace_setting(request).settings.items()}


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", (True, True, True, 1)),
        ("info", (True, True, True, 0)),
        ("warning", (False, True, True, 0)),
        ("error", (False, False, True, 0)),
    ],
)
def test_the_settings_are_those_of_the_start(level: LogLevel, shown: tuple[Any, ...]) -> None:
    settings = Log(level=level).set()
    keys = ("log_info", "log_warning", "log_error", "log_verbose_level")
    assert tuple(settings[key] for key in keys) == shown
    assert (settings["log_file"], settings["log_format"]) == ("", "default")


def test_settings_change_one_by_one_and_are_put_in_force() -> None:
    log = Log()
    assert log.set(log_info=False)["log_info"] is False
    settings = log.set(log_verbose_level=2, log_format="ISO8601")
    assert (settings["log_info"], settings["log_verbose_level"], settings["log_format"]) == (False, 2, "ISO8601")
    assert log.switched[-1] == LogSwitches(info=False, verbose_level=2, iso_times=True)


def test_asking_changes_nothing() -> None:
    log = Log()
    log.set()
    request = pb.LogSettingsRequest()
    request.settings["log_info"].SetInParent()
    log.service.log_settings(request)
    assert log.switched == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"log_colour": True}, "'log_colour' is not known; there is: log_file, log_info"),
        ({"log_info": 1}, "'log_info' is a uint32_param; expected bool_param"),
        ({"log_verbose_level": True}, "'log_verbose_level' is a bool_param; expected uint32_param"),
        ({"log_format": "RFC3339"}, "'log_format' is 'RFC3339'; expected one of default, ISO8601"),
        ({"log_file": "a.log"}, "'log_file' cannot be changed"),
    ],
)
def test_a_bad_setting_is_named_and_changes_nothing(values: dict[str, Any], message: str) -> None:
    log = Log()
    with pytest.raises(InvalidInput, match=message):
        log.set(log_error=False, **values)
    assert log.switched == []
    assert log.set()["log_error"] is True


def test_lines_of_json_carry_their_date_whatever_is_asked() -> None:
    log = Log("json")
    assert log.set(log_format="ISO8601")["log_format"] == "ISO8601"
    with pytest.raises(InvalidInput, match="json"):
        log.set(log_format="default")


def test_tracing_is_off_and_may_be_set_to_what_it_is() -> None:
    settings = Log().trace(trace_level=["OFF"], trace_rate=[], trace_count=["-1"])
    assert settings == {
        "trace_file": [""], "trace_level": ["OFF"], "trace_rate": ["1000"], "trace_count": ["-1"],
        "log_frequency": ["0"],
    }  # fmt: skip


def test_tracing_is_not_switched_on_and_not_configured() -> None:
    log = Log()
    for key, value in (("trace_level", ["TIMESTAMPS"]), ("trace_level", ["OFF", "TENSORS"]), ("trace_rate", ["1"])):
        with pytest.raises(Unsupported, match=key):
            log.trace("", **{key: value})
    with pytest.raises(InvalidInput, match="'trace_colour' is not known"):
        log.trace(trace_colour=["red"])
    with pytest.raises(ModelNotFound, match="nobody"):
        log.trace("nobody")


@pytest.mark.parametrize(("sample", "rate"), [(1.0, "1"), (0.01, "100"), (0.0, "0")])
def test_a_server_that_traces_says_so(sample: float, rate: str) -> None:
    log = Log(trace_sample=sample)
    settings = log.trace()
    assert (settings["trace_level"], settings["trace_rate"]) == (["TIMESTAMPS"], [rate])
    with pytest.raises(Unsupported, match="the flag --trace-sample decides"):
        log.trace(trace_level=["OFF"])
