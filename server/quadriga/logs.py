"""Log lines for people or for programs. Server process and workers.

A worker writes plain lines to its pipe; the server process logs them under the worker's name, in its own format.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, NamedTuple

from quadriga.config import LogFormat, LogLevel

_LINE: Final = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"
_TIME_OF_DAY: Final = "%H:%M:%S"
_ISO_TIME: Final = "%Y-%m-%dT%H:%M:%S%z"
_NOTHING: Final = logging.CRITICAL + 1


class LogSwitches(NamedTuple):
    """Which records are shown; each grade has its own switch, as the LogSettings rpc has it.

    Attributes:
        info: What happens.
        warning: What may need attention.
        error: What went wrong.
        verbose_level: From 1 on, debug records too.
        iso_times: Console lines carry date, time and offset rather than the time of day; JSON lines always do.
    """

    info: bool = True
    warning: bool = True
    error: bool = True
    verbose_level: int = 0
    iso_times: bool = False

    def shows(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        if record.levelno >= logging.ERROR:
            return self.error
        if record.levelno >= logging.WARNING:
            return self.warning
        return self.info if record.levelno >= logging.INFO else self.verbose_level > 0

    @property
    def least(self) -> int:
        """The least grave level that is shown."""
        shown = {
            logging.DEBUG: self.verbose_level > 0,
            logging.INFO: self.info,
            logging.WARNING: self.warning,
            logging.ERROR: self.error,
        }
        return next((level for level, on in shown.items() if on), _NOTHING)


def switches_of(level: LogLevel) -> LogSwitches:
    """The switches that show records from a level up."""
    return LogSwitches(
        info=level in ("debug", "info"), warning=level != "error", verbose_level=1 if level == "debug" else 0
    )


def configure_logging(log_format: LogFormat, level: LogLevel) -> None:
    """Sends log records from a level up to stderr, in the format chosen."""
    switch_logging(log_format, switches_of(level))


def switch_logging(log_format: LogFormat, switches: LogSwitches) -> None:
    """Sends the log records that the switches let through to stderr, in the format chosen."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(switches.shows)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter(_LINE, _ISO_TIME if switches.iso_times else _TIME_OF_DAY))
    logging.basicConfig(level=switches.least, handlers=[handler], force=True)
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (RFC 3339, UTC), level, logger, message, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
