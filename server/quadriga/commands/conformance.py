"""`quadriga conformance`: holds a server to the Open Inference Protocol's rules. Runs in the command's own process."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from quadriga.commands.conformance_table import catalogue_table, print_report, roles_table
from quadriga.commands.connection import DEFAULT_URL
from quadriga.commands.console import output_console
from quadriga_client.conformance import (
    INTERRUPT,
    ROLES,
    ZOO_MODELS,
    Check,
    Entry,
    Level,
    Outcome,
    Report,
    ServerGone,
    Settings,
    catalogue_markdown,
    comparison_markdown,
    junit_xml,
    read_report,
    run,
    select,
)
from quadriga_client.errors import InputError
from quadriga_client.rpcs import check_url

DEFAULT_TIMEOUT: Final = 10.0
#: Exit statuses: a binding rule is broken; nothing could be said of the server; the user ended the run.
BROKEN: Final = 1
NO_RUN: Final = 2
INTERRUPTED: Final = 130
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


class NoRun(click.ClickException):
    """Nothing can be said of the server, or said where it was to be said."""

    exit_code = NO_RUN


@click.command(context_settings={"show_default": True})
@click.option(
    "--url", default=DEFAULT_URL, envvar="QUADRIGA_URL", show_envvar=True, metavar="HOST:PORT",
    help="gRPC address of the server.",
)  # fmt: skip
@click.option(
    "--model", "models", multiple=True, metavar="ROLE=NAME",
    help=f"A model for a role ({', '.join(ROLES)}). Repeatable; without it, those of `quadriga zoo conformance`.",
)  # fmt: skip
@click.option(
    "--group", "groups", multiple=True, help="Run the checks of a group, such as oip or oip.infer. Repeatable."
)
@click.option("--check", "ids", multiple=True, metavar="ID", help="Run one check. Repeatable.")
@click.option("--allow-model-control", is_flag=True, help="Let checks unload and load the models of roles.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=DEFAULT_TIMEOUT, help="Seconds per call."
)
@click.option("--json", "json_file", type=_FILE, help="Write the report as JSON.")
@click.option(
    "--junit", "junit_file", type=_FILE, help="Write the report as JUnit XML; broken MUST rules are failures."
)
@click.option("--list", "list_only", is_flag=True, help="Show the checks instead of running them.")
@click.option(
    "--compare", "compared", multiple=True, type=_FILE,
    help="Show a report of --json instead of running anything; several side by side. Repeatable.",
)  # fmt: skip
@click.option("--markdown", is_flag=True, help="With --list: Markdown. --compare always is.")
def conformance(
    url: str,
    models: tuple[str, ...],
    groups: tuple[str, ...],
    ids: tuple[str, ...],
    allow_model_control: bool,
    timeout: float,
    json_file: Path | None,
    junit_file: Path | None,
    list_only: bool,
    compared: tuple[Path, ...],
    markdown: bool,
) -> None:
    """Hold a server, any server, to the Open Inference Protocol, and to Triton's extensions of it.

    The exit status is 0 when no rule that binds (MUST) is broken, 1 when one is, 2 when nothing could be said.
    """
    try:
        checks = select(groups, ids)
        if compared:
            click.echo(comparison_markdown([(path.stem, read_report(path)) for path in compared]))
            return
        settings = Settings(
            url=check_url(url), models=parse_roles(models), timeout=timeout, allow_model_control=allow_model_control
        )
    except (ValueError, InputError) as error:
        raise click.UsageError(str(error)) from None
    if list_only:
        if markdown:
            click.echo(catalogue_markdown(checks), nl=False)
        else:
            console = output_console()
            console.print(catalogue_table(checks))
            console.print()
            console.print(roles_table())
        return
    report = _run(settings, checks)
    print_report(output_console(), report)
    _write(report, json_file, junit_file)
    sys.exit(status_of(report))


def parse_roles(given: Sequence[str]) -> dict[str, list[str]]:
    """Names of models by role, from ROLE=NAME; the zoo's where nothing is given.

    Raises:
        ValueError: A text is no ROLE=NAME, or there is no such role.
    """
    if not given:
        return {role: list(names) for role, names in ZOO_MODELS.items()}
    models: dict[str, list[str]] = {role: [] for role in ROLES}
    for text in given:
        role, separator, name = text.partition("=")
        if role not in models or not separator or not name:
            raise ValueError(f"--model is {text!r}; expected ROLE=NAME with one of the roles {', '.join(ROLES)}")
        models[role].append(name)
    return models


def status_of(report: Report) -> int:
    """The command's exit status."""
    if report.ended_early == INTERRUPT:
        return INTERRUPTED
    if report.count(level=Level.MUST)[Outcome.FAILED]:
        return BROKEN
    if report.ended_early:
        return NO_RUN
    return 0 if report.conforms else BROKEN


def _run(settings: Settings, checks: Sequence[Check]) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("", total=len(checks))

        def ended(entry: Entry) -> None:
            display.update(task, advance=1, description=entry.id)

        try:
            return run(settings, checks, ended)
        except ServerGone:
            raise NoRun(f"no server answers at {settings.url}") from None


def _write(report: Report, json_file: Path | None, junit_file: Path | None) -> None:
    try:
        if json_file is not None:
            json_file.write_text(json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n")
        if junit_file is not None:
            junit_file.write_text(junit_xml(report))
    except OSError as error:
        raise NoRun(f"the report cannot be written: {error}") from None
