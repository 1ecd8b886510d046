"""Where load comes from, as measurements see it: generator processes, or a simulation in tests."""

from typing import Protocol

from quadriga_client.load.arrivals import Arrivals
from quadriga_client.load.samples import Samples
from quadriga_client.load.scheduling import Scheduling


class Run(Protocol):
    """Load that is being made.

    Attributes:
        started_ns: When the first request could be due, `time.monotonic_ns`.
    """

    started_ns: int

    def collect(self, until_ns: int) -> Samples:
        """Waits until then; the requests that ended since the last call.

        Raises:
            LoadError: A generator failed, or the server cannot be reached any more.
        """

    def scheduling(self) -> Scheduling:
        """What each generator process got of the CPUs until now; empty where that is not known."""

    def finish(self) -> Samples:
        """Sends no more, waits for what is under way as long as a request may take; all that ended since.

        What is not answered by then has the code DEADLINE_EXCEEDED. Afterwards, the source can start another run.
        """


class LoadSource(Protocol):
    """Makes load on one target, one run after the other."""

    def start(self, arrivals: Arrivals) -> Run:
        """Begins to send.

        Raises:
            LoadError: The server cannot be reached.
        """
