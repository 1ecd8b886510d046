"""What a run found, as values and as a JSON document; runs in the kit's process and wherever documents are read.

The document's `schema` is `SCHEMA_VERSION`; a change that a reader has to know of raises it.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from quadriga_client.conformance.catalogue import Check
from quadriga_client.conformance.outcomes import Level, Outcome, Result

SCHEMA_VERSION: Final = 1
#: Raised with every change of what a check asks for.
KIT_VERSION: Final = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A check and how it ended, without the function: what documents hold."""

    id: str
    group: str
    level: Level
    rule: str
    source: str
    outcome: Outcome
    message: str = ""
    observed: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, check: Check, result: Result) -> "Entry":
        """The check with its result."""
        return cls(
            id=check.id,
            group=check.group,
            level=check.level,
            rule=check.rule,
            source=check.source,
            outcome=result.outcome,
            message=result.message,
            observed=result.observed,
            seconds=result.seconds,
        )

    @property
    def breaks(self) -> bool:
        """Whether the server is not shown to keep a rule that binds it."""
        return self.level is Level.MUST and self.outcome in (Outcome.FAILED, Outcome.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run.

    Attributes:
        url: Of the server.
        date: When it began, ISO 8601 in UTC.
        server: Its name, as it says itself.
        server_version: Likewise.
        extensions: Likewise.
        roles: The models that played each role.
        entries: Every check that was to run.
        ended_early: Why not all of them ran; empty where they did.
        kit: Version of the kit.
    """

    url: str
    date: str
    server: str
    server_version: str
    extensions: Sequence[str]
    roles: Mapping[str, Sequence[str]]
    entries: Sequence[Entry]
    ended_early: str = ""
    kit: str = field(default=KIT_VERSION)

    @property
    def conforms(self) -> bool:
        """Whether no rule that binds was found broken, and no check of one ended in an error."""
        return not any(entry.breaks for entry in self.entries)

    def count(self, *, level: Level | None = None) -> Counter[Outcome]:
        """How many checks ended how, of one level or of all."""
        return Counter(entry.outcome for entry in self.entries if level in (None, entry.level))

    def document(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "schema": SCHEMA_VERSION,
            "kit": self.kit,
            "date": self.date,
            "url": self.url,
            "server": {"name": self.server, "version": self.server_version, "extensions": list(self.extensions)},
            "roles": {role: list(names) for role, names in self.roles.items()},
            "ended_early": self.ended_early,
            "conforms": self.conforms,
            "checks": [asdict(entry) for entry in self.entries],
        }


def read_report(path: Path) -> Report:
    """A report from its document.

    Raises:
        ValueError: The file is none, or of a schema that this kit does not know.
    """
    try:
        content = json.loads(path.read_text())
        if content["schema"] != SCHEMA_VERSION:
            raise ValueError(f"{path} has schema {content['schema']!r}; expected {SCHEMA_VERSION}")
        entries = [
            Entry(**{**entry, "level": Level(entry["level"]), "outcome": Outcome(entry["outcome"])})
            for entry in content["checks"]
        ]
        return Report(
            url=content["url"],
            date=content["date"],
            server=content["server"]["name"],
            server_version=content["server"]["version"],
            extensions=content["server"]["extensions"],
            roles=content["roles"],
            entries=entries,
            ended_early=content["ended_early"],
            kit=content["kit"],
        )
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no report of this kit: {type(error).__name__}: {error}") from None
