"""One load test, from its options to its report. Runs in the command's process.

Whatever ends it early, once the server has answered, leaves a report of what was measured until then.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from quadriga_client.client import Client
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.arrivals import LEAST_RATE, Arrivals, ClosedLoop
from quadriga_client.load.ceiling import measure_ceiling
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.errors import LoadError
from quadriga_client.load.fingerprint import fingerprint
from quadriga_client.load.measurement import Failed, Interrupted, MeasurementSettings, measure
from quadriga_client.load.mlperf import run_scenario
from quadriga_client.load.options import Levels, LoadOptions, Scenarios, Search, arrivals_at
from quadriga_client.load.payload import Answer, Payload, payload, probe
from quadriga_client.load.report import SCHEMA, Ceiling, Mlperf, Report, Request, Row, Slo, Window
from quadriga_client.load.server_side import ServerProbe, find_probe
from quadriga_client.load.slo import find_rate
from quadriga_client.load.source import LoadSource

#: Callers that measure the ceiling where the plan has none of its own.
_CEILING_CALLERS: Final = 64
#: From this share of the ceiling on, a reader has to know that the generators may be the limit.
_NEAR_CEILING: Final = 0.8


class Observer(Protocol):
    """Is told how a load test goes."""

    def phase(self, text: str) -> None:
        """What is being done now, besides levels of load."""

    def level(self, arrivals: Arrivals) -> None:
        """A level begins."""

    def window(self, window: Window) -> None:
        """A window of that level is over; those of its warm-up are not measured."""

    def row(self, row: Row) -> None:
        """The level is over."""


@dataclass(slots=True)
class _Found:
    """What was found until now."""

    rows: list[Row] = field(default_factory=list)
    ceiling: Ceiling | None = None
    slo: Slo | None = None
    mlperf: list[Mlperf] = field(default_factory=list)
    interrupted: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Met:
    """What the server said before there was any load.

    Attributes:
        server: Its name and version; empty where it does not tell.
        platform: Of the model.
        version: Of the model, which answered.
        made: The request.
        answer: To it.
        side: Reads the server's own figures; None: there are none, or nobody asks for them.
    """

    server: str
    platform: str
    version: str
    made: Payload
    answer: Answer
    side: ServerProbe | None

    def request(self, model: str) -> Request:
        """What is sent, for the report."""
        return Request(
            model=model,
            version=self.version,
            bytes=len(self.made.request),
            response_bytes=len(self.answer.response),
            rows=self.made.rows,
            inputs=dict(self.made.described),
            content=self.made.content,
        )


def run_load_test(
    client: Client,
    options: LoadOptions,
    observer: Observer,
    *,
    hold: Callable[[], None] = lambda: None,
    quadriga: str = "",
    command: str = "",
) -> Report:
    """Runs a load test.

    Args:
        client: Of the server that the options name.
        options: Of the test.
        observer: Is told how it goes.
        hold: Is called when the load is over, before the report is made. From then on, no signal may raise
            KeyboardInterrupt.
        quadriga: This package's version, for the report.
        command: As it was typed, for the report; without secrets.

    Returns:
        What was measured. Its `error` says what ended it early, such as a server that went away; `interrupted`, that
        KeyboardInterrupt did.

    Raises:
        LoadError: No request can be made of the options, or no figures of the server's come from the URL for them.
        QuadrigaClientError: The server refuses the model or the request, or cannot be reached.
        KeyboardInterrupt: Before there was anything to report.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    machine = fingerprint()
    observer.phase(f"asking the server for {options.model}")
    met = _meet(client, options)
    found = _Found()
    try:
        try:
            _Test(options, observer, met, found).run()
        except QuadrigaClientError as error:
            found.error = str(error)
        hold()  # what comes until it has returned is an interrupt with a report, too
    except (Interrupted, KeyboardInterrupt):
        found.interrupted = True
    return Report(
        schema=SCHEMA,
        quadriga=quadriga,
        created=created,
        command=command,
        url=options.url,
        server=met.server,
        platform=met.platform,
        request=met.request(options.model),
        connections=options.connections,
        processes=options.processes,
        fingerprint=machine,
        rows=tuple(found.rows),
        ceiling=found.ceiling,
        slo=found.slo,
        mlperf=tuple(found.mlperf),
        interrupted=found.interrupted,
        error=found.error,
        settings=options.described(),
    )


@dataclass(frozen=True, slots=True)
class _Test:
    """The part of a load test that makes load; what it finds is there whatever ends it."""

    options: LoadOptions
    observer: Observer
    met: _Met
    found: _Found

    def run(self) -> None:
        """Carries out the plan."""
        options, plan = self.options, self.options.plan
        if isinstance(plan, Scenarios):
            self._scenarios(plan)
            return
        if options.ceiling:
            self._ceiling()
        self.observer.phase("starting the generators")
        target = options.target(self.met.made.request)
        with Fleet(target, connections=options.connections, processes=options.processes) as fleet:
            if isinstance(plan, Search):
                self._search(fleet, plan)
            else:
                for arrivals in plan.arrivals:
                    self._level(fleet, arrivals)

    def _ceiling(self) -> None:
        options, plan = self.options, self.options.plan
        self.observer.phase("measuring the generators' own ceiling")
        levels = plan.arrivals if isinstance(plan, Levels) else ()
        self.found.ceiling = measure_ceiling(
            options.target(self.met.made.request),
            self.met.answer.response,
            connections=options.connections,
            processes=options.processes,
            concurrency=max(
                (each.concurrency for each in levels if isinstance(each, ClosedLoop)), default=_CEILING_CALLERS
            ),
        )

    def _search(self, source: LoadSource, plan: Search) -> None:
        first = plan.first
        if first is None:
            first = self._level(source, ClosedLoop(1)).throughput.value
            if not first:
                raise LoadError("no request was answered, so that there is no rate to begin a search with")
        settings = self.options.measurement

        def at_rate(rate: float, windows: int) -> Row:
            arrivals = arrivals_at(rate, plan.spread, self.options.seed)
            return self._level(source, arrivals, replace(settings, measured_windows=windows))

        self.found.slo, _ = find_rate(
            plan.objective,
            lambda rate: at_rate(rate, settings.measured_windows),
            lambda rate: at_rate(rate, 2 * settings.measured_windows),
            first=max(first, LEAST_RATE),
        )

    def _level(self, source: LoadSource, arrivals: Arrivals, settings: MeasurementSettings | None = None) -> Row:
        self.observer.level(arrivals)
        try:
            row = measure(
                source,
                arrivals,
                settings or self.options.measurement,
                rows_per_request=self.met.made.rows,
                probe=self.met.side,
                on_window=self.observer.window,
            )
        except (Failed, Interrupted) as cut:
            if cut.row is not None:
                self.found.rows.append(_beside_ceiling(cut.row, self.found.ceiling))
            raise
        row = _beside_ceiling(row, self.found.ceiling)
        self.found.rows.append(row)
        self.observer.row(row)
        return row

    def _scenarios(self, plan: Scenarios) -> None:
        target = self.options.target(self.met.made.request)
        for name, settings in plan.runs:
            self.observer.phase(f"running MLPerf's scenario {name}")
            self.found.mlperf.append(run_scenario(target, name, settings=settings))


def _meet(client: Client, options: LoadOptions) -> _Met:
    server, platform = _server_name(client), client.metadata(options.model, options.version).platform
    made = _payload(client, options)
    answer = probe(options.target(made.request))
    version = answer.result.model_version or options.version
    side = find_probe(client, options.model, version, options.metrics_url) if options.server_side else None
    return _Met(server, platform, version, made, answer, side)


def _payload(client: Client, options: LoadOptions) -> Payload:
    return payload(
        client,
        options.model,
        options.version,
        rows=options.rows,
        shapes=options.shapes,
        file=options.file,
        seed=options.seed,
    )


def _server_name(client: Client) -> str:
    """The server's name and version; empty where it does not tell."""
    try:
        metadata = client.metadata()
    except QuadrigaClientError:
        return ""
    return f"{metadata.name} {metadata.version}".strip()


def _beside_ceiling(row: Row, ceiling: Ceiling | None) -> Row:
    """The row, with a note where its throughput is about what the generators can do at all."""
    if ceiling is None or row.throughput.value < _NEAR_CEILING * ceiling.throughput:
        return row
    share = row.throughput.value / ceiling.throughput
    note = f"throughput is {share:.0%} of the generators' own ceiling: the server may be faster than this shows"
    return replace(row, notes=(*row.notes, note))
