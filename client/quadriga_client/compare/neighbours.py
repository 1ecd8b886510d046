"""Who else calls a contestant's server: server-wide counters of its metrics page. Runs in the command's process.

The server process's CPU time is shared by all that it answers. Only where no other model's requests moved meanwhile is
it the contestant's.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

from quadriga_client.load.errors import LoadError
from quadriga_client.load.metrics_page import fetch, read
from quadriga_client.load.server_side import PageProbe, ServerProbe

_ENDED: Final = "quadriga_requests_total"
_UNDER_WAY: Final = ("quadriga_queue_depth", "quadriga_batches_in_flight")
_SECONDS: Final = 5.0


class Traffic(NamedTuple):
    """Other models' requests at one moment: how many have ended since ever, and how many wait or are being run."""

    ended: float
    under_way: float


class Neighbours(Protocol):
    """Asks a server for its other models' requests."""

    def read(self) -> Traffic | None:
        """As of now; None where the server does not tell."""


@dataclass(frozen=True, slots=True)
class PageNeighbours:
    """Reads the whole metrics page of a Quadriga server.

    Attributes:
        url: Of the page, of all models.
        model: The contestant's.
        version: Likewise; empty: all of its versions are.
    """

    url: str
    model: str
    version: str

    def read(self) -> Traffic | None:
        """See `Neighbours`."""
        try:
            samples = read(fetch(self.url, _SECONDS), {_ENDED, *_UNDER_WAY}, self.url)
        except LoadError:
            return None
        own = {"model": self.model, **({"version": self.version} if self.version else {})}.items()
        others = [sample for sample in samples if not own <= sample.labels.items()]
        if len(others) == len(samples):  # not even the contestant's: this is no page of all models
            return None
        return Traffic(
            ended=sum(sample.value for sample in others if sample.name == _ENDED),
            under_way=sum(sample.value for sample in others if sample.name in _UNDER_WAY),
        )


def neighbours_of(probe: ServerProbe | None) -> Neighbours | None:
    """Those of the model that a probe is of; None where only a page of that one is known, or no page."""
    if not isinstance(probe, PageProbe):
        return None
    parts = urlsplit(probe.url)
    if parts.query and parse_qs(parts.query) != {"model": [probe.model]}:
        return None
    return PageNeighbours(parts._replace(query="").geturl(), probe.model, probe.version)


def were_quiet(before: Traffic | None, after: Traffic | None) -> bool:
    """Whether it is known that no other model was called in between."""
    if before is None or after is None:
        return False
    return before.ended == after.ended and not before.under_way and not after.under_way
