"""One level of load, from its start to its row. Runs in the command's process.

A run goes on until windows agree (`windows.py`); those that do are what the row is made of. It is not known beforehand
which they are, so the server's counters are read at the begin of every window. That takes as long as it takes:
windows are planned by the clock of the samples, and a late `collect` returns at once.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from quadriga_client.load.arrivals import Arrivals
from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import Row, ServerSide, Window
from quadriga_client.load.rows import Seen, row_of, window_of
from quadriga_client.load.samples import OK, Samples
from quadriga_client.load.scheduling import Look
from quadriga_client.load.server_reading import ServerReading
from quadriga_client.load.server_side import ServerProbe, between
from quadriga_client.load.source import LoadSource, Run
from quadriga_client.load.windows import Cutter, Decision, Verdict, WarmUp, least_requests

_MS_NS: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSettings:
    """How one level is measured.

    Attributes:
        window_seconds: The least length of a window.
        agreeing_windows: How many in a row must agree.
        tolerance: By which share their largest figure may exceed the smallest.
        most_windows: Of a run, with the warm-up.
        lag_share: What the generator's lag may be of the latency.
        seed: Of the intervals' resampling.

    Raises:
        LoadError: A number is out of its range.
    """

    window_seconds: float = 1.0
    agreeing_windows: int = 3
    tolerance: float = 0.1
    most_windows: int = 20
    lag_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("window_seconds", "tolerance", "lag_share"):
            if not 0 < getattr(self, name) < float("inf"):
                raise LoadError(f"{name} is {getattr(self, name)}; it must be a number above 0")
        if self.agreeing_windows < 2:
            raise LoadError(f"agreeing_windows is {self.agreeing_windows}; it takes at least 2 to agree")
        if self.most_windows < self.agreeing_windows:
            raise LoadError(
                f"most_windows is {self.most_windows}; {self.agreeing_windows} windows are to agree, "
                "so it takes at least as many"
            )


class Interrupted(Exception):
    """The user ended a measurement.

    Attributes:
        row: What was seen until then, marked as not stable unless windows had agreed; None: nothing.
    """

    def __init__(self, row: Row | None) -> None:
        super().__init__("interrupted")
        self.row = row


def measure(
    source: LoadSource,
    arrivals: Arrivals,
    settings: MeasurementSettings,
    *,
    rows_per_request: int,
    probe: ServerProbe | None = None,
    on_window: Callable[[Window], None] | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Row:
    """Puts a level of load on, waits until it is steady, and says what that is like.

    Args:
        source: Of the load.
        arrivals: The level.
        settings: Of the measurement.
        rows_per_request: Of the input.
        probe: Reads the server's counters; None: its side is not known.
        on_window: Hears of each window when it is full; whether it is measured nobody knows then.
        clock: That of the samples, in ns.

    Raises:
        Interrupted: On Ctrl-C. The first one waits for requests under way as a normal end does, another one does not.
        LoadError: The load cannot be made (any more).
    """
    measurement = _Measurement(source, arrivals, settings, rows_per_request, probe, on_window, clock)
    try:
        measurement.watch()
        measurement.finish()
        return measurement.row()
    except KeyboardInterrupt:
        raise Interrupted(measurement.salvage()) from None


class _Reading(NamedTuple):
    at_ns: int
    reading: ServerReading


class _Measurement:
    """The state of one measurement."""

    def __init__(
        self,
        source: LoadSource,
        arrivals: Arrivals,
        settings: MeasurementSettings,
        rows_per_request: int,
        probe: ServerProbe | None,
        on_window: Callable[[Window], None] | None,
        clock: Callable[[], int],
    ) -> None:
        self._source = source
        self._arrivals = arrivals
        self._settings = settings
        self._rows_per_request = rows_per_request
        self._probe = probe
        self._on_window = on_window
        self._clock = clock
        least = least_requests(arrivals)
        self._warm_up = WarmUp(
            agreeing=settings.agreeing_windows,
            tolerance=settings.tolerance,
            most=settings.most_windows,
            least=least,
        )
        self._cutter = Cutter(0, settings.window_seconds, least)
        self._decision = Decision(Verdict.GO_ON, 0)
        self._run: Run | None = None
        self._started_ns = 0
        self._under_way = self._finishing = False
        self._samples: list[Samples] = []
        self._readings: list[_Reading] = []  # at the begin of the first window, and at the end of each
        self._looks: list[Look] = []  # likewise, at the generators
        self._notes: list[str] = []

    def watch(self) -> None:
        """Makes load until windows agree, or there will be no more that could."""
        run = self._run = self._source.start(self._arrivals)
        self._started_ns, self._under_way = run.started_ns, True
        self._cutter = Cutter(run.started_ns, self._settings.window_seconds, least_requests(self._arrivals))
        self._look(run)
        self._read()
        while self._decision.verdict is Verdict.GO_ON:
            until_ns = self._cutter.next_ns
            self._samples.append(run.collect(until_ns))
            self._cutter.add(self._samples[-1], until_ns)
            if self._cutter.full:
                self._look(run)
                self._close_window()

    def finish(self) -> None:
        """Waits for the requests under way."""
        self._finishing = True
        if self._run is not None:
            self._samples.append(self._run.finish())
        self._under_way = False

    def salvage(self) -> Row | None:
        """What was seen before an interrupt; None: nothing."""
        if self._run is None:
            return None
        interrupted_ns = self._clock()
        if not self._finishing:
            with contextlib.suppress(KeyboardInterrupt, LoadError):
                self.finish()
        if self._under_way:
            self._notes.append("interrupted while requests were under way: they are not in these figures")
        if self._decision.verdict is Verdict.GO_ON:
            self._close_early(interrupted_ns)
        return self.row() if self._warm_up.windows else None

    def row(self) -> Row:
        """Of the windows that were decided on."""
        first = self._decision.first
        samples = Samples.joined(self._samples)
        seen = Seen(
            arrivals=self._arrivals,
            started_ns=self._started_ns,
            samples=samples,
            windows=self._warm_up.windows,
            first=first,
            verdict=self._decision.verdict,
            looks=self._looks[first:],
            server=self._server_side(samples, first),
            notes=tuple(self._notes),
        )
        settings = self._settings
        return row_of(
            seen,
            rows_per_request=self._rows_per_request,
            tolerance=settings.tolerance,
            lag_share=settings.lag_share,
            seed=settings.seed,
        )

    def _look(self, run: Run) -> None:
        self._looks.append(Look(self._clock(), run.scheduling()))

    def _close_window(self) -> None:
        cut = self._cutter.close()
        self._read()
        self._decision = self._warm_up.push(cut)
        if self._on_window is not None:
            self._on_window(window_of(cut, measured=False))

    def _close_early(self, at_ns: int) -> None:
        """Makes a window of what came after the last full one, and decides on the last few."""
        begin_ns, until_ns = self._cutter.begin_ns, min(at_ns, self._cutter.next_ns)
        if until_ns > begin_ns:
            samples = Samples.joined(self._samples)
            cutter = Cutter(begin_ns, self._settings.window_seconds, 0)
            cutter.add(samples.where(samples.ended >= begin_ns), until_ns)
            cut = cutter.close()
            if len(cut.latencies_ns):
                self._warm_up.windows.append(cut)
        first = max(0, len(self._warm_up.windows) - self._settings.agreeing_windows)
        self._decision = Decision(Verdict.GO_ON, first)

    def _read(self) -> None:
        """Reads the server's counters; a server that does not give them does not end the measurement."""
        if self._probe is None:
            return
        try:
            reading = self._probe.read()
        except LoadError as error:
            self._notes.append(f"the server's side is not known: {error}")
            self._probe = None
            self._readings.clear()
            return
        self._readings.append(_Reading(self._clock(), reading))

    def _server_side(self, samples: Samples, first: int) -> ServerSide | None:
        """Of the measured time, or rather of that between the readings at its begin and its end."""
        if len(self._readings) <= len(self._warm_up.windows):
            return None
        before, after = self._readings[first], self._readings[len(self._warm_up.windows)]
        meanwhile = samples.where((samples.ended >= before.at_ns) & (samples.ended < after.at_ns))
        answered = meanwhile.where(meanwhile.codes == OK)
        service_ns = answered.ended - answered.begun
        return between(
            before.reading,
            after.reading,
            sent=len(meanwhile.ended),
            mean_service_ms=float(service_ns.mean()) / _MS_NS if len(service_ns) else 0.0,
        )
