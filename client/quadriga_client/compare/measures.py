"""The figures that contestants are compared by. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from quadriga_client.compare.standings import Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a figure is.

    Attributes:
        name: In texts and headings.
        best: What the best one's is, in a sentence.
        more_is_better: Else less is.
        of_the_client: Whether the generators measure it, so that it is nothing where they fall behind.
    """

    name: str
    best: str
    more_is_better: bool = False
    of_the_client: bool = True


MEASURES: Final[Mapping[Measure, Kind]] = {
    "throughput": Kind(name="requests/s", best="highest throughput", more_is_better=True),
    "p50_ms": Kind(name="p50 ms", best="lowest median latency"),
    "p99_ms": Kind(name="p99 ms", best="lowest p99 latency"),
    "cpu_ms_per_row": Kind(name="CPU ms per row", best="least CPU time per row", of_the_client=False),
}
