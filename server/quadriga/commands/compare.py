"""`quadriga compare`: which of several models that answer alike is faster. Runs in the command's own process."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from quadriga import __version__
from quadriga.commands.compare_table import print_agreements, print_changes, print_report, shown
from quadriga.commands.connection import Target, connection, first_token, target_options
from quadriga.commands.console import output_console
from quadriga.commands.parsed import parse_shape, parsed, typed_command
from quadriga_client.compare.changes import changes
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.contestants import parse_contestants
from quadriga_client.compare.errors import Disagreement
from quadriga_client.compare.formats import json, prepare, write
from quadriga_client.compare.likeness import Tolerance
from quadriga_client.compare.options import Access, CompareOptions
from quadriga_client.compare.session import run_comparison
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.errors import LoadError
from quadriga_client.load.levels import parse_levels

#: Exit statuses: the models differ; a figure is worse than in the older report; ended by Ctrl-C.
FAILED: Final = 1
DIFFERENT: Final = 3
WORSE: Final = 4
INTERRUPTED: Final = 130
Result = TypeVar("Result")

_TOLERANCE: Final = Tolerance()
#: \b is click's mark for lines that stay as they are.
_EXIT_STATUS: Final = """\b
Exit status:
  0    compared; there may be no winner
  1    not compared, or not to the end, or requests failed, or the report cannot be written
  2    the options are wrong
  3    the models do not answer alike, and nothing was timed
  4    a figure is worse than in the report of --against
  130  ended by Ctrl-C; what was measured until then is reported
"""
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


def parse_share(text: str) -> float:
    """A share of "5%" or "0.05".

    Raises:
        LoadError: The text is neither, or not from 0 to below 1.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise LoadError(f"{text!r} is no share; expected one from 0% to below 100%, as 5% or 0.05")
    return share


@click.command(context_settings={"show_default": True}, epilog=_EXIT_STATUS)
@click.argument("models", nargs=-1, metavar="MODEL MODEL...")
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    help="Seconds that are timed at each level, of all models together.",
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
    type=click.FloatRange(min=0),
    default=_TOLERANCE.absolute,
    help="By how much an element of an output may differ from the first model's,",
)
@click.option(
    "--rtol",
    type=click.FloatRange(min=0),
    default=_TOLERANCE.relative,
    help="and by how much more, as a share of the first model's element.",
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
    old = None if against is None else read(against)
    if newer is not None:
        if old is None or models or output is not None:
            raise click.UsageError("--report is compared with --against FILE, without models and --output")
        context.exit(_diff(old, str(against), newer, given["tolerated"], quiet=quiet))
    options = _options(models, target, old, "" if against is None else against.name, given)
    if output is not None:
        _or_fail(lambda: prepare(output))
    try:
        report = _compared(options, target, quiet=quiet)
    except KeyboardInterrupt:
        context.exit(INTERRUPTED)
    if output is not None:
        _or_fail(lambda: write(report, output))
    if not quiet:
        print_report(output_console(), report)
    if report.error:
        raise click.ClickException(report.error)
    context.exit(status_of(report))


def status_of(report: Comparison) -> int:
    """The exit status of a report that could be written."""
    if report.interrupted:
        return INTERRUPTED
    if report.error or report.failed_requests:
        return FAILED
    return WORSE if report.changes and report.changes.worse else 0


def read(path: Path) -> Comparison:
    """A report.

    Raises:
        click.ClickException: It cannot be read.
    """
    return _or_fail(lambda: json.read(path))


def parse_metrics(texts: Sequence[str], url: str) -> dict[str, str]:
    """Metrics pages by server, from [HOST:PORT=]URL; one without a server is that of `url`.

    Raises:
        LoadError: Two are of one server.
    """
    pages: dict[str, str] = {}
    for text in texts:
        server, separator, page = text.partition("=")
        place, page = (server, page) if separator else (url, text)
        if place in pages:
            raise LoadError(f"--metrics is given twice for {place}")
        pages[place] = page
    return pages


def _options(
    models: tuple[str, ...], target: Target, old: Comparison | None, old_name: str, given: dict[str, Any]
) -> CompareOptions:
    """The comparison of a command line.

    Raises:
        click.UsageError: It cannot be.
        click.ClickException: The token file cannot be read.
    """
    if given["shapes"] and given["file"]:
        raise click.UsageError("--input says the shapes of the inputs; leave out --shape")
    try:
        return CompareOptions(
            contestants=parse_contestants(models, target.url),
            seconds=given["duration"],
            access=Access(
                timeout=target.timeout,
                tls=target.tls_options(),
                token=None if target.token_file is None else first_token(target.token_file),
                token_over_plaintext=target.token_over_plaintext,
            ),
            concurrencies=tuple(map(int, given["concurrency"])),
            rows=given["rows"],
            shapes=dict(given["shapes"]),
            file=given["file"],
            tolerance=Tolerance(absolute=given["atol"], relative=given["rtol"]),
            allow_different=given["allow_different"],
            one_awake=given["one_awake"],
            connections=given["connections"],
            processes=given["processes"],
            metrics=parse_metrics(given["metrics"], target.url),
            seed=given["seed"],
            against=old,
            against_name=old_name,
            tolerated=given["tolerated"],
        )
    except QuadrigaClientError as error:
        raise click.UsageError(str(error)) from None


def _compared(options: CompareOptions, target: Target, *, quiet: bool) -> Comparison:
    """Runs the comparison; models that differ end the command.

    Raises:
        click.ClickException: It cannot be run.
    """
    for url in dict.fromkeys(contestant.url for contestant in options.contestants):
        with connection(replace(target, url=url)):
            pass  # whoever is not there is said before anything is done
    try:
        with shown(quiet=quiet) as progress:
            return run_comparison(options, progress, quadriga=__version__, command=typed_command())
    except Disagreement as disagreement:
        print_agreements(output_console(), options.contestants[0].name, disagreement.agreements)
        raise Different(str(disagreement)) from None
    except QuadrigaClientError as error:
        raise click.ClickException(str(error)) from None


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
    """Sets two reports beside each other; the exit status."""
    new = read(newer)
    found = _or_fail(lambda: changes(old, new, against=old_name, tolerated=tolerated))
    if not quiet:
        print_changes(output_console(), found)
    return WORSE if found.worse else 0


def _or_fail(work: Callable[[], Result]) -> Result:
    """What `work` returns; its failure is the one line that the user reads."""
    try:
        return work()
    except QuadrigaClientError as error:
        raise click.ClickException(str(error)) from None
