"""A report beside an older one, as the report has it. Pure."""

from dataclasses import dataclass

from quadriga_client.compare.standings import Measure
from quadriga_client.load.report import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure now over the same figure in an older report.

    Attributes:
        contestant: Its name.
        concurrency: The level.
        measure: The figure.
        before: In the older report.
        now: In this one.
        ratio: Now over before.
        worse: Whether the interval leaves out 1 on the bad side, and the ratio is worse than was tolerated.
        better: Likewise on the good side.
    """

    contestant: str
    concurrency: int
    measure: Measure
    before: float
    now: float
    ratio: Interval
    worse: bool
    better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A report beside an older one.

    Attributes:
        against: The older one's file.
        created: When that was made.
        tolerated: The share by which a figure may get worse.
        entries: Every figure that both have.
        missing: Figures of the older one that cannot be compared any more, in sentences; all of a contestant or level
            that was not measured again are among them.
        warnings: What makes them unlike, in sentences: another machine, other versions.
    """

    against: str
    created: str
    tolerated: float
    entries: tuple[Change, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def worse(self) -> tuple[Change, ...]:
        """What got worse."""
        return tuple(entry for entry in self.entries if entry.worse)
