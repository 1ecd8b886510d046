"""Log lines for programs, and the switches that say which lines there are."""

import json
import logging
import sys

import pytest

from quadriga.logs import JsonFormatter, LogSwitches, switches_of


def test_json_lines_hold_what_was_logged() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord("quadriga.x", logging.WARNING, "f.py", 1, "got %d\nlines", (2,), sys.exc_info())
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["logger"], line["message"]) == ("warning", "quadriga.x", "got 2\nlines")
    assert "ValueError: broken" in line["exception"]
    assert line["time"].endswith("+00:00")


@pytest.mark.parametrize(
    ("switches", "shown", "least"),
    [
        (switches_of("debug"), {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}, logging.DEBUG),
        (switches_of("info"), {"INFO", "WARNING", "ERROR", "CRITICAL"}, logging.INFO),
        (switches_of("error"), {"ERROR", "CRITICAL"}, logging.ERROR),
        (LogSwitches(warning=False), {"INFO", "ERROR", "CRITICAL"}, logging.INFO),
        (LogSwitches(info=False, warning=False, error=False), set(), logging.CRITICAL + 1),
    ],
)
def test_each_grade_has_its_switch(switches: LogSwitches, shown: set[str], least: int) -> None:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    records = [logging.LogRecord("q", getattr(logging, level), "f.py", 1, "", (), None) for level in levels]
    assert {record.levelname for record in records if switches.shows(record)} == shown
    assert switches.least == least
