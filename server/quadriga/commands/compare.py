"""`quadriga compare`: which of several models that answer alike is faster. Runs in the command's own process."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import fill, indent
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from quadriga import __version__
from quadriga.commands.compare_plan import Finite, options_of, parse_share
from quadriga.commands.compare_table import print_agreements, print_changes, print_report, shown
from quadriga.commands.connection import Target, connection, target_options
from quadriga.commands.console import output_console
from quadriga.commands.endings import Endings
from quadriga.commands.parsed import parse_shape, parsed, typed_command
from quadriga_client.compare.changes import changes, check_comparable
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.errors import CompareError, Disagreement, WrongOption
from quadriga_client.compare.formats import REPORT, json, prepare, write
from quadriga_client.compare.likeness import Tolerance
from quadriga_client.compare.options import CompareOptions
from quadriga_client.compare.session import run_comparison
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.levels import parse_levels

#: Exit statuses by what they mean; 1, 2, 3, 130 and 143 mean what they do with `quadriga load`.
FAILED: Final = 1
FAILED_REQUESTS: Final = 3
WORSE: Final = 4
DIFFERENT: Final = 5
_MEANINGS: Final = {
    0: "compared; there may be no winner",
    FAILED: "not compared, or not to the end; or the report is not written, a figure, model or level of --against is"
    " missing now, or what was loaded is not put back",
    2: "the options are wrong",
    FAILED_REQUESTS: "compared, and requests failed",
    WORSE: "compared, and a figure is worse than in the report of --against",
    DIFFERENT: "the models do not answer alike, and nothing was timed",
    130: "ended by Ctrl-C; what was measured until then is reported",
    143: "likewise by SIGTERM",
}
Result = TypeVar("Result")

_TOLERANCE: Final = Tolerance()
#: \b is click's mark for lines that stay as they are.
_EXIT_STATUS: Final = "\b\nExit status:\n" + "\n".join(
    indent(fill(meaning, 70, initial_indent=f"{status:<5}", subsequent_indent=" " * 5), "  ")
    for status, meaning in _MEANINGS.items()
)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"show_default": True}, epilog=_EXIT_STATUS)
@click.argument("models", nargs=-1, metavar="MODEL MODEL...")
@click.option(
    "--duration",
    type=Finite(min=0, min_open=True),
    default=60.0,
    help="Seconds that are timed at each level, of all models together; more where a model is slow.",
)
@click.option("--output", type=_FOLDER, help="Folder for the report as JSON, CSV, Markdown and a page with plots.")
@click.option(
    "--concurrency",
    callback=parsed(lambda text: parse_levels(text, whole=True)),
    default="8",
    metavar="LEVELS",
    help="Callers, each of which waits for its answer: 8, or 1,8,32, or 1:64 (doubling).",
)
@click.option("--rows", type=click.IntRange(min=1), default=1, help="Of a request.")
@click.option(
    "--shape",
    "shapes",
    callback=parsed(parse_shape),
    multiple=True,
    metavar="NAME:SIZES",
    help="Of an input whose sizes the first model leaves open, as image:3,224,224. Repeatable.",
)
@click.option(
    "--input", "file", type=_FILE, help="An .npy of the only input, or an .npz by name; without it, random numbers."
)
@click.option(
    "--atol",
    type=Finite(min=0),
    default=_TOLERANCE.absolute,
    help="By which share of the output's largest value an element may differ from the first model's.",
)
@click.option(
    "--rtol",
    type=Finite(min=0),
    default=_TOLERANCE.relative,
    help="By which share of the first model's element it may differ besides.",
)
@click.option("--allow-different", is_flag=True, help="Time models that do not answer alike; the report says so.")
@click.option(
    "--one-awake", is_flag=True, help="Have the servers load one model at a time; what was loaded before is put back."
)
@click.option("--connections", type=click.IntRange(min=1), default=4, help="Of each model.")
@click.option("--processes", type=click.IntRange(min=1), default=1, help="That make the load, of each model.")
@click.option(
    "--metrics",
    multiple=True,
    metavar="[HOST:PORT=]URL",
    help="The metrics page of the server at HOST:PORT, or at --url. Repeatable.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of all random numbers.")
@click.option("--against", type=_FILE, help="An older comparison.json: says what got better or worse.")
@click.option(
    "--worse-than",
    "tolerated",
    callback=parsed(parse_share),
    default="5%",
    help="With --against: by how much a figure may be worse.",
)
@click.option("--report", "newer", type=_FILE, help="With --against and no models: the newer comparison.json.")
@target_options
@click.option("--quiet", is_flag=True, help="Show nothing but errors.")
@click.pass_context
def compare(
    context: click.Context,
    /,
    models: tuple[str, ...],
    target: Target,
    output: Path | None,
    against: Path | None,
    newer: Path | None,
    quiet: bool,
    **given: Any,  # noqa: ANN401 - click passes what the options declare
) -> None:
    """Compare MODELs of a running server, or of several: [NAME=]MODEL[:VERSION][@HOST:PORT].

    All get the same inputs. First they must answer alike; then they are timed in turns. A winner is named only where
    the intervals part.
    """
    _check(context, output, against)
    old = None if against is None else read(against)
    if newer is not None:
        if old is None or models or output is not None:
            raise click.UsageError("--report is compared with --against FILE, without models and --output")
        context.exit(_diff(old, str(against), newer, given["tolerated"], quiet=quiet))
    options = options_of(models, target, old, "" if against is None else against.name, given)
    if output is not None:
        _or_fail(lambda: prepare(output))
    with Endings() as endings:
        context.exit(_run(options, target, output, endings, quiet=quiet))


def _check(context: click.Context, output: Path | None, against: Path | None) -> None:
    """Refuses what would be found out after the timing alone.

    Raises:
        click.UsageError: The older report would be written over, or is missing.
    """
    typed = context.get_parameter_source("tolerated") is not ParameterSource.DEFAULT
    if typed and against is None:
        raise click.UsageError("--worse-than says by how much a figure may be worse than in --against FILE; give both")
    if output is not None and against is not None and (output / REPORT).resolve() == against.resolve():
        raise click.UsageError(f"--output {output} would write over {against}, which --against reads; name another")


def _run(options: CompareOptions, target: Target, output: Path | None, endings: Endings, *, quiet: bool) -> int:
    """Compares, writes and prints; the exit status.

    Raises:
        click.ClickException: Nothing is compared.
    """
    left: list[str] = []
    try:
        report = _compared(options, target, endings, left, quiet=quiet)
    except KeyboardInterrupt:
        return FAILED if left else endings.status
    except click.ClickException as error:
        if left:
            raise click.ClickException(error.format_message()) from None
        raise
    status = FAILED if left else status_of(report, endings.status)
    problems = [report.error] if report.error else []
    if output is not None:
        try:
            write(report, output)
        except CompareError as error:
            problems.append(str(error))
            status = FAILED
    if not quiet:
        print_report(output_console(), report)
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    return status


def status_of(report: Comparison, interrupted: int) -> int:
    """The exit status of a report that could be written.

    Args:
        report: As it is.
        interrupted: The status where a signal ended it.
    """
    if report.interrupted:
        return interrupted
    if report.error:
        return FAILED
    if report.failed_requests:
        return FAILED_REQUESTS
    if report.changes and report.changes.worse:
        return WORSE
    return FAILED if report.changes and report.changes.missing else 0


def read(path: Path) -> Comparison:
    """A report.

    Raises:
        click.ClickException: It cannot be read.
    """
    return _or_fail(lambda: json.read(path))


def _compared(options: CompareOptions, target: Target, endings: Endings, left: list[str], *, quiet: bool) -> Comparison:
    """Runs the comparison; models that differ end the command.

    Args:
        options: Of the comparison.
        target: The server of those that name none.
        endings: Holds signals at its end.
        left: Is given what could not be put back as it was.
        quiet: Whether nothing but errors is shown.

    Raises:
        click.ClickException: It cannot be run.
    """
    for url in dict.fromkeys(contestant.url for contestant in options.contestants):
        with connection(replace(target, url=url)):
            pass  # whoever is not there is said before anything is done
    try:
        with shown(left, quiet=quiet) as progress:
            return run_comparison(options, progress, hold=endings.hold, quadriga=__version__, command=typed_command())
    except Disagreement as disagreement:
        if not quiet:
            print_agreements(output_console(), options.contestants[0].name, disagreement.agreements)
        raise Different(str(disagreement)) from None
    except WrongOption as error:
        raise click.UsageError(str(error)) from None
    except QuadrigaClientError as error:
        raise click.ClickException(str(error)) from None
    finally:
        for text in left:
            click.echo(f"Error: {text}", err=True)


class Different(click.ClickException):
    """The models do not answer alike."""

    exit_code = DIFFERENT

    def format_message(self) -> str:
        """What differs, and what to do."""
        return (
            f"the models do not answer alike, so their speed is not compared: {self.message}."
            " --allow-different compares them all the same, and --atol and --rtol say what is alike"
        )


def _diff(old: Comparison, old_name: str, newer: Path, tolerated: float, *, quiet: bool) -> int:
    """Sets two reports beside each other; the exit status, which is that of the newer one where it failed.

    Raises:
        click.ClickException: They have nothing in common.
    """
    new = read(newer)
    names = [contestant.name for contestant in new.contestants]
    _or_fail(lambda: check_comparable(old, names, new.inputs, [level.concurrency for level in new.levels]))
    found = changes(old, new, against=old_name, tolerated=tolerated)
    if not quiet:
        print_changes(output_console(), found)
    if new.error or new.interrupted:
        click.echo(f"Error: {newer} ended early: {new.error or 'it was interrupted'}", err=True)
    return status_of(replace(new, changes=found), FAILED)


def _or_fail(work: Callable[[], Result]) -> Result:
    """What `work` returns; its failure is the one line that the user reads."""
    try:
        return work()
    except QuadrigaClientError as error:
        raise click.ClickException(str(error)) from None
