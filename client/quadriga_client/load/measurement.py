"""One level of load, from its start to its row. Runs in the command's process.

A run goes on until windows agree (`agreement.py`); then as many as were asked for are measured, and the row is made of
all of them, with the requests that they leave behind (`accounts.py`). The server's counters are read before the first
of these and after the last. That takes as long as it takes: windows are planned by the clock of the samples, and a
late `collect` returns at once.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from quadriga_client.load.arrivals import Arrivals
from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import Row, ServerSide, Window
from quadriga_client.load.samples import Samples
from quadriga_client.load.scheduling import Look
from quadriga_client.load.server_reading import ServerReading
from quadriga_client.load.server_side import ServerProbe, between
from quadriga_client.load.source import LoadSource, Run
from quadriga_client.load.statistics.accounts import under_way
from quadriga_client.load.statistics.agreement import Agreement, Course
from quadriga_client.load.statistics.rows import Seen, row_of, window_of
from quadriga_client.load.statistics.windows import Cut, Cutter, least_requests
from quadriga_client.load.status_codes import OK

_MS_NS: Final = 1e6
#: Between two looks at what is still under way after the last window.
_PIECE_NS: Final = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSettings:
    """How one level is measured.

    Attributes:
        window_seconds: The least length of a window.
        agreeing_windows: How many in a row must agree before the warm-up is over.
        tolerance: By which share the largest figure of windows may exceed the smallest.
        most_windows: Of the warm-up, whether or not they agree.
        measured_windows: After the warm-up; all of them count.
        lag_share: What the generator's lag may be of the latency.
        seed: Of the intervals' resampling.

    Raises:
        LoadError: A number is out of its range.
    """

    window_seconds: float = 1.0
    agreeing_windows: int = 3
    tolerance: float = 0.1
    most_windows: int = 20
    measured_windows: int = 5
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
        if self.measured_windows < 1:
            raise LoadError(f"measured_windows is {self.measured_windows}; it takes at least 1 to measure")


class Interrupted(Exception):
    """The user ended a measurement.

    Attributes:
        row: What was seen until then, marked as not stable unless all windows were there; None: nothing.
    """

    def __init__(self, row: Row | None) -> None:
        super().__init__("interrupted")
        self.row = row


class Failed(LoadError):
    """The load could not go on: the server went away, for example.

    Attributes:
        row: What was seen until then, as an `Interrupted` has it; None: nothing.
    """

    def __init__(self, message: str, row: Row | None) -> None:
        super().__init__(message)
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
        on_window: Hears of each window when it is full.
        clock: That of the samples, in ns.

    Raises:
        Interrupted: On Ctrl-C. The first one waits for requests under way as a normal end does, another one does not.
        Failed: The load cannot be made (any more).
    """
    measurement = _Measurement(source, arrivals, settings, rows_per_request, probe, on_window, clock)
    try:
        measurement.watch()
        measurement.see_off()
        measurement.finish()
        return measurement.row()
    except KeyboardInterrupt:
        raise Interrupted(measurement.salvage()) from None
    except LoadError as error:
        raise Failed(str(error), measurement.rescue()) from error


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
        self._course = Course(
            Agreement(settings.agreeing_windows, settings.tolerance, least),
            most=settings.most_windows,
            measured=settings.measured_windows,
        )
        self._cutter = Cutter(0, settings.window_seconds, least)
        self._run: Run | None = None
        self._started_ns = 0
        self._under_way = self._finishing = False
        self._samples: list[Samples] = []
        self._readings: list[_Reading] = []  # at the begin of the measured windows, and at their end
        self._looks: list[Look] = []  # at the generators: likewise, and between the windows
        self._notes: list[str] = []

    def watch(self) -> None:
        """Makes load until windows agree, and then for as many as are measured."""
        run = self._run = self._source.start(self._arrivals)
        self._started_ns, self._under_way = run.started_ns, True
        self._cutter = Cutter(run.started_ns, self._settings.window_seconds, least_requests(self._arrivals))
        while not self._course.is_over:
            until_ns = self._cutter.next_ns
            self._samples.append(run.collect(until_ns))
            self._cutter.add(self._samples[-1], until_ns)
            if self._cutter.full:
                self._close_window(run)

    def see_off(self) -> None:
        """Keeps the load on until all that was due in the measured windows has ended; as long as they took, at most."""
        run, cuts = self._run, self._course.measured
        if run is None or self._course.silent:
            return
        until_ns = end_ns = cuts[-1].end_ns
        left = under_way(self._arrivals, Samples.joined(self._samples), self._started_ns, end_ns)
        while left > 0 and until_ns - end_ns < end_ns - cuts[0].begin_ns:
            until_ns += _PIECE_NS
            self._samples.append(run.collect(until_ns))
            left -= int((self._samples[-1].due < end_ns).sum())

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
                self._read_once_more()
                self.finish()
        if self._under_way:
            self._notes.append("interrupted while requests were under way: they are not in these figures")
        return self._row_until(interrupted_ns)

    def rescue(self) -> Row | None:
        """What was seen before the load failed; None: nothing."""
        if self._run is None:
            return None
        if not self._finishing:
            with contextlib.suppress(KeyboardInterrupt, LoadError):
                self.finish()
        if self._under_way:
            self._notes.append("the load failed while requests were under way: they are not in these figures")
        # Nobody looked just when it did; the last requests ended then.
        last_ns = max((int(samples.ended.max()) for samples in self._samples if len(samples.ended)), default=0)
        return self._row_until(last_ns + 1)

    def _row_until(self, at_ns: int) -> Row | None:
        if not self._course.is_over:
            self._close_early(at_ns)
        return self.row() if self._course.windows else None

    def row(self) -> Row:
        """Of the measured windows."""
        samples = Samples.joined(self._samples)
        seen = Seen(
            arrivals=self._arrivals,
            started_ns=self._started_ns,
            samples=samples,
            course=self._course,
            looks=self._looks,
            server=self._server_side(samples),
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

    def _close_window(self, run: Run) -> None:
        cut, was_warm = self._cutter.close(), self._course.is_warm
        self._course.push(cut)
        if self._course.is_warm:
            self._looks.append(Look(self._clock(), run.scheduling()))
        if self._course.is_warm and (not was_warm or self._course.is_over):
            self._read()
        if self._on_window is not None:
            self._on_window(window_of(cut, measured=was_warm))

    def _close_early(self, at_ns: int) -> None:
        """Makes a window of what came after the last full one, where there is something."""
        begin_ns, until_ns = self._cutter.begin_ns, min(at_ns, self._cutter.next_ns)
        part: Cut | None = None
        if until_ns > begin_ns:
            samples = Samples.joined(self._samples)
            cutter = Cutter(begin_ns, self._settings.window_seconds, 0)
            cutter.add(samples.where(samples.ended >= begin_ns), until_ns)
            part = cutter.close()
        self._course.break_off(part if part is not None and len(part.latencies_ns) else None)

    def _read_once_more(self) -> None:
        """The reading at the end of measured windows that are ended early."""
        if len(self._readings) == 1:
            self._read()

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

    def _server_side(self, samples: Samples) -> ServerSide | None:
        """Of the measured time, or rather of that between the readings at its begin and its end."""
        if len(self._readings) < 2:
            return None
        before, after = self._readings
        meanwhile = samples.where((samples.ended >= before.at_ns) & (samples.ended < after.at_ns))
        answered = meanwhile.where(meanwhile.codes == OK)
        service_ns = answered.ended - answered.begun
        return between(
            before.reading,
            after.reading,
            sent=len(meanwhile.ended),
            mean_service_ms=float(service_ns.mean()) / _MS_NS if len(service_ns) else 0.0,
        )
