"""What a check can end with, and how a check says so; runs in the process that runs the kit."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How binding a rule is."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    SKIPPED = "skipped"
    ERROR = "error"


class Failed(Exception):
    """The server breaks the rule; the message says what came and what was expected."""


class Unsupported(Exception):
    """The server does not have what the rule is about, and need not have it."""


class Skipped(Exception):
    """The check cannot be made here: a role or a precondition is missing."""


class ServerGone(Exception):
    """No connection to the server can be had any more; nothing else can be learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One check's end.

    Attributes:
        id: Of the check.
        outcome: How it ended.
        message: Why, where it did not pass.
        observed: What the server did where the rule leaves it open, such as the status code of a refusal.
        seconds: How long it took.
    """

    id: str
    outcome: Outcome
    message: str = ""
    observed: str = ""
    seconds: float = 0.0
