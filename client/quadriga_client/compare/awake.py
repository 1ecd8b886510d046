"""Which contestants are loaded meanwhile: all of them, or one at a time. Runs in the command's process.

A worker that only waits still has memory, threads and its share of the caches. With one awake at a time, nothing of the
others is there, and every load is measured besides.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from types import TracebackType
from typing import Final, Protocol, Self

from quadriga_client.client import Client
from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.errors import CompareError
from quadriga_client.errors import QuadrigaClientError, RpcFailed

READY: Final = "READY"
#: A model that still ends, with its worker, its memory and its requests in hand.
_UNLOADING: Final = "UNLOADING"
#: How often a server is asked whether an unload is done, and for how long, in seconds.
_LOOK_SECONDS: Final = 0.05
_UNLOAD_SECONDS: Final = 60.0
_NEEDS: Final = (
    "--one-awake needs servers that load and unload by request, as `quadriga serve --model-control explicit` does"
)


class Awake(Protocol):
    """Loads contestants, and puts back what was loaded before."""

    def wake(self, contestant: Contestant) -> bool:
        """Has it loaded; whether it was loaded just now, so that it is cold.

        Raises:
            QuadrigaClientError: It cannot be loaded.
        """

    def load_ms(self, contestant: Contestant) -> float | None:
        """How long its loads took, their median; None where it was never loaded."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, in sentences."""


class AllAwake:
    """Leaves the servers as they are."""

    notes: tuple[str, ...] = ()

    def wake(self, contestant: Contestant) -> bool:
        """See `Awake`."""
        return False

    def load_ms(self, contestant: Contestant) -> float | None:
        """See `Awake`."""
        return None


class OneAwake:
    """Unloads every contestant but one; a context manager, at whose end all is as it was.

    While it puts things back, nothing may interrupt it: who enters it holds signals by then.

    Attributes:
        notes: See `Awake`.
    """

    def __init__(
        self,
        contestants: Sequence[Contestant],
        clients: Mapping[str, Client],
        left: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Does nothing before it is entered.

        Args:
            contestants: All.
            clients: By URL.
            left: Is told what could not be put back as it was.
            clock: In seconds.
            sleep: For so many seconds.

        Raises:
            CompareError: Two contestants are versions of one model, which are loaded together.
        """
        places = [(contestant.url, contestant.model) for contestant in contestants]
        for place in places:
            if places.count(place) > 1:
                raise CompareError(
                    f"a server loads all versions of a model at once: with --one-awake, only one contestant can be of"
                    f" {place[1]!r}"
                )
        self.notes: tuple[str, ...] = ()
        self._contestants = contestants
        self._clients = clients
        self._left = left
        self._clock = clock
        self._sleep = sleep
        self._loaded_before: set[Contestant] = set()
        self._loaded: set[Contestant] = set()
        self._load_seconds: dict[Contestant, list[float]] = {}

    def __enter__(self) -> Self:
        """Looks at what is loaded.

        Raises:
            CompareError: A server does not tell.
        """
        for url, client in self._clients.items():
            try:
                ready = {status.model for status in client.repository_index() if status.state == READY}
            except QuadrigaClientError as error:
                raise CompareError(f"{url} does not say what it has loaded: {error}; {_NEEDS}") from error
            own = [contestant for contestant in self._contestants if contestant.url == url]
            self._loaded_before |= {contestant for contestant in own if contestant.model in ready}
            others = sorted(ready - {contestant.model for contestant in own})
            if others:
                self.notes += (f"also loaded at {url}, all the time: {', '.join(others)}",)
        self._loaded = set(self._loaded_before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What is to go goes first: perhaps there is no memory for both.
        for contestant in (each for each in self._contestants if each in self._loaded - self._loaded_before):
            with self._putting_back(contestant, "not loaded"):
                self._clients[contestant.url].unload_model(contestant.model)
        for contestant in (each for each in self._contestants if each in self._loaded_before - self._loaded):
            with self._putting_back(contestant, "loaded"):
                self._clients[contestant.url].load_model(contestant.model)

    @contextmanager
    def _putting_back(self, contestant: Contestant, was: str) -> Iterator[None]:
        """Tells of a failure, after which the others are still put back."""
        try:
            yield
        except QuadrigaClientError as failure:
            self._left(f"{contestant.name} at {contestant.url}, which was {was}, is not put back: {failure}")

    def wake(self, contestant: Contestant) -> bool:
        """See `Awake`; returns when what was unloaded has gone.

        Raises:
            CompareError: The server loads and unloads nothing by request, or an unload does not end.
        """
        try:
            for other in self._contestants:
                if other in self._loaded and other != contestant:
                    # From the call on it may be unloaded, whether or not its answer is waited for.
                    self._loaded.discard(other)
                    self._unload(other)
            if contestant in self._loaded:
                return False
            begin = self._clock()
            self._loaded.add(contestant)
            self._clients[contestant.url].load_model(contestant.model)
        except RpcFailed as error:
            raise CompareError(f"{contestant.name} cannot be loaded alone: {error}; {_NEEDS}") from error
        self._load_seconds.setdefault(contestant, []).append(self._clock() - begin)
        return True

    def _unload(self, contestant: Contestant) -> None:
        """Unloads it and waits: a server may answer while the model's worker still ends."""
        client = self._clients[contestant.url]
        client.unload_model(contestant.model)
        end = self._clock() + _UNLOAD_SECONDS
        while any(
            status.model == contestant.model and status.state in (READY, _UNLOADING)
            for status in client.repository_index()
        ):
            if self._clock() > end:
                raise CompareError(
                    f"{contestant.name} at {contestant.url} is still not unloaded after {_UNLOAD_SECONDS:g} s, so that"
                    " nothing can be timed alone; leave out --one-awake"
                )
            self._sleep(_LOOK_SECONDS)

    def load_ms(self, contestant: Contestant) -> float | None:
        """See `Awake`: from the call until the server says that it serves."""
        seconds = self._load_seconds.get(contestant)
        return median(seconds) * 1e3 if seconds else None
