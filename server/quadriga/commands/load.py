"""`quadriga load`: load on a model of any server, and a report of how it bore that. Runs in the command's process."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from quadriga import __version__
from quadriga.commands.connection import Target, connection, target_options
from quadriga.commands.console import output_console
from quadriga.commands.endings import Endings
from quadriga.commands.load_display import Display, Lines, Quiet, print_report
from quadriga.commands.load_plan import DEFAULT_CONCURRENCY, Loads, plan_of
from quadriga.commands.parsed import parse_shape, parsed, typed_command
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.arrivals import read_trace
from quadriga_client.load.errors import LoadError
from quadriga_client.load.formats import check_path, json, write
from quadriga_client.load.levels import parse_levels
from quadriga_client.load.measurement import MeasurementSettings
from quadriga_client.load.mlperf import SCENARIOS
from quadriga_client.load.options import SPREADS, LoadOptions
from quadriga_client.load.report import Report
from quadriga_client.load.session import run_load_test
from quadriga_client.load.slo import parse_objective

#: Exit statuses: not measured, or not all of it; measured, and it does not hold.
FAILED: Final = 1
NOT_HELD: Final = 3
_EXIT_STATUS: Final = """\b
Exit status:
  0    measured; a level may be unstable, the server fall behind, or the generator be saturated, as the report says
  1    nothing was measured, the test ended early, or a file cannot be read or written
  2    the options are wrong
  3    measured, and requests failed; or --slo holds at no rate; or MLPerf says INVALID
  130  ended by Ctrl-C; what was measured until then is reported
  143  likewise by SIGTERM
"""
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_POSITIVE: Final = click.FloatRange(min=0, min_open=True)
_DEFAULTS: Final = MeasurementSettings()


@click.command(context_settings={"show_default": True}, epilog=_EXIT_STATUS)
@click.argument("model")
@click.option(
    "--concurrency", callback=parsed(lambda text: parse_levels(text, whole=True)),
    show_default=DEFAULT_CONCURRENCY, metavar="LEVELS",
    help="Closed loops of so many callers: 16, or 1,8,32, or 1:64 (doubling), or 10:50:10 (in steps).",
)  # fmt: skip
@click.option(
    "--rate", callback=parsed(parse_levels), metavar="LEVELS",
    help="Open loops of so many requests per second; levels as above. With --slo, where the search begins.",
)  # fmt: skip
@click.option(
    "--arrivals", type=click.Choice(SPREADS), show_default=SPREADS[0],
    help="How the requests of a rate are spread.",
)  # fmt: skip
@click.option("--trace", type=_FILE, help="An open loop with the times of a file: seconds from the start, one a line.")
@click.option(
    "--slo", callback=parsed(parse_objective), metavar="OBJECTIVE",
    help='Search the highest rate at which an objective holds, as "p99<15ms" or "p99<15ms and errors<0.1%".',
)  # fmt: skip
@click.option(
    "--mlperf", type=click.Choice(SCENARIOS, case_sensitive=False), multiple=True,
    help="Run a scenario of MLPerf by its own load generator. Repeatable. Server is judged by --rate and --slo.",
)  # fmt: skip
@click.option("--mlperf-seconds", type=_POSITIVE, help="Shorter than MLPerf's own 10 minutes.")
@click.option("--mlperf-queries", type=click.IntRange(min=1), help="Fewer than MLPerf's own.")
@click.option("--rows", type=click.IntRange(min=1), help="Of a request; without it 1, or those of --input.")
@click.option(
    "--shape", "shapes", callback=parsed(parse_shape), multiple=True, metavar="NAME:SIZES",
    help="Of an input whose sizes the model leaves open, as image:3,224,224. Repeatable.",
)  # fmt: skip
@click.option(
    "--input", "file", type=_FILE, help="An .npy of the only input, or an .npz by name; without it, random numbers."
)
@click.option("--version", default="", show_default=False, help="Of the model; without it, the newest that is ready.")
@click.option("--connections", type=click.IntRange(min=1), default=4, help="All processes' together.")
@click.option("--processes", type=click.IntRange(min=1), default=1, help="That make the load.")
@click.option("--window", type=_POSITIVE, default=_DEFAULTS.window_seconds, help="Seconds, of the shortest.")
@click.option("--tolerance", type=_POSITIVE, default=_DEFAULTS.tolerance, help="By which share they may differ.")
@click.option(
    "--max-windows", type=click.IntRange(min=_DEFAULTS.agreeing_windows), default=_DEFAULTS.most_windows,
    help="After which the warm-up ends, though no three in a row agreed.",
)  # fmt: skip
@click.option(
    "--measured-windows", type=click.IntRange(min=1), default=_DEFAULTS.measured_windows,
    help="After the warm-up; all of them count.",
)  # fmt: skip
@click.option(
    "--metrics", metavar="URL", help="The server's metrics page; without it, found where the server is Quadriga."
)
@click.option("--no-server-side", is_flag=True, help="Do not ask the server for its own figures.")
@click.option("--no-ceiling", is_flag=True, help="Do not measure what the generators could do at most.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of all random numbers.")
@target_options
@click.option(
    "--output", "outputs", type=_FILE, multiple=True,
    help="Write the report: .json, .csv, .perf_analyzer.csv, .md or .html. Repeatable.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of tables.")
@click.option("--quiet", is_flag=True, help="Show nothing but errors.")
@click.pass_context
def load(
    context: click.Context,
    /,
    target: Target,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,  # noqa: ANN401 - click passes what the options declare
) -> None:
    """Put load on MODEL of a running server, any server of the Open Inference Protocol.

    A request's latency counts from when it was due. Three windows in a row that agree end a level's warm-up; all that
    are measured after it count.
    """
    try:
        for path in outputs:
            check_path(path)
        load_options = options_of(target, options)
    except QuadrigaClientError as error:
        raise click.ClickException(str(error)) from None
    with Endings() as endings:
        context.exit(_run(load_options, target, outputs, endings, as_json=as_json, quiet=quiet))


def _run(
    options: LoadOptions, target: Target, outputs: Sequence[Path], endings: Endings, *, as_json: bool, quiet: bool
) -> int:
    """Measures, writes and prints; the exit status. Signals end the measurement, and disturb nothing after it."""
    try:
        with connection(target) as client, _observer(quiet) as observer:
            report = run_load_test(
                client, options, observer, hold=endings.hold, quadriga=__version__, command=typed_command()
            )
    except KeyboardInterrupt:
        return endings.status
    failures = _write(report, outputs)
    if as_json:
        click.echo(json.encode(report), nl=False)
    elif not quiet:
        print_report(output_console(), report)
    for failure in (*_problems(report), *failures):
        click.echo(f"Error: {failure}", err=True)
    return FAILED if failures else status_of(report, endings.status)


def options_of(target: Target, options: Mapping[str, Any]) -> LoadOptions:
    """The load test that the command's options ask for.

    Raises:
        click.UsageError: They contradict each other, or a number is out of its range.
        click.ClickException: The token file cannot be read.
        QuadrigaClientError: The trace cannot, or the token may not go to the server.
    """
    if options["shapes"] and options["file"]:
        raise click.UsageError("--input says the shapes of the inputs; leave out --shape")
    if options["metrics"] and options["no_server_side"]:
        raise click.UsageError("--metrics is where the server's own figures are, which --no-server-side leaves out")
    trace = None if options["trace"] is None else read_trace(options["trace"])
    metadata = target.call_metadata()
    loads = {field.name: options[field.name] for field in fields(Loads)}
    try:
        return LoadOptions(
            url=target.url,
            model=options["model"],
            plan=plan_of(Loads(**loads | {"trace": trace}), options["seed"], options["connections"]),
            version=options["version"],
            timeout=target.timeout,
            metadata=metadata,
            tls=target.tls_options(),
            rows=options["rows"],
            shapes=dict(options["shapes"]),
            file=options["file"],
            connections=options["connections"],
            processes=options["processes"],
            measurement=MeasurementSettings(
                window_seconds=options["window"],
                tolerance=options["tolerance"],
                most_windows=options["max_windows"],
                measured_windows=options["measured_windows"],
                seed=options["seed"],
            ),
            server_side=not options["no_server_side"],
            metrics_url=options["metrics"],
            ceiling=not options["no_ceiling"],
        )
    except LoadError as error:
        raise click.UsageError(str(error)) from None


def status_of(report: Report, interrupted: int) -> int:
    """The exit status of a report that could be written.

    Args:
        report: As it is.
        interrupted: The status where a signal ended it.
    """
    if report.interrupted:
        return interrupted
    if _problems(report):
        return FAILED
    if any(not run.valid for run in report.mlperf):
        return NOT_HELD
    if report.slo is not None:  # beyond the rate that it found, requests may fail
        return NOT_HELD if report.slo.rate is None else 0
    return NOT_HELD if any(row.errors for row in report.rows) else 0


def _problems(report: Report) -> list[str]:
    """Why a test did not say what it was to say."""
    if report.error:
        return [report.error]
    if not (report.interrupted or report.mlperf or any(row.latency.count for row in report.rows)):
        return ["no request was answered with OK; the report has their codes"]
    return []


def _observer(quiet: bool) -> Quiet:
    """What shows how the test goes, on standard error."""
    if quiet:
        return Quiet()
    console = Console(stderr=True)
    return Display(console) if console.is_terminal else Lines(console)


def _write(report: Report, outputs: Sequence[Path]) -> list[str]:
    """Writes the report's files; why some could not be written."""
    failures = []
    for path in outputs:
        try:
            write(report, path)
        except LoadError as error:
            failures.append(str(error))
    return failures
