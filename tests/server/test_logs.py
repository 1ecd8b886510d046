"""Log lines for programs."""

import json
import logging
import sys

from quadriga.logs import JsonFormatter


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
