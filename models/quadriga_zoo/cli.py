"""`quadriga zoo`: trains and exports networks. Runs in the command's own process; frameworks run in zoo jobs."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from quadriga_zoo.applications import APPLICATIONS
from quadriga_zoo.datasets import LOADERS
from quadriga_zoo.errors import ZooError
from quadriga_zoo.repository import Builder
from quadriga_zoo.repository import Progress as BuilderProgress

DEFAULT_REPOSITORY = Path("models/repository")
FOLDER = click.Path(path_type=Path, file_okay=False)
data_dir_option = click.option(
    "--data-dir", type=FOLDER, help="Where the data set's published files lie; else Keras downloads them."
)
verbose_option = click.option("--verbose", is_flag=True, help="Show what the frameworks print.")


def dataset_option(purpose: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`--dataset`, with what the command does with it."""
    return click.option(
        "--dataset", type=click.Choice(tuple(LOADERS)), default="digits", show_default=True, help=purpose
    )


@click.group()
def zoo() -> None:
    """Train and export networks."""


@zoo.command()
@click.option("--repository", type=FOLDER, default=DEFAULT_REPOSITORY, show_default=True, help="Where models go.")
@dataset_option("To train on.")
@data_dir_option
@verbose_option
def build(repository: Path, dataset: str, data_dir: Path | None, verbose: bool) -> None:
    """Train and export the demo models, as far as they are missing."""
    with building(repository, verbose=verbose) as builder:
        made = builder.build_demo(dataset, data_dir)
    click.echo(f"{repository}: {f'made {len(made)} models' if made else 'complete'}")


@zoo.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=FOLDER, required=True, help="Repository that the four models go to.")
@click.option("--name", help="Of the models, before _savedmodel and so on. Default: the file's.")
@dataset_option("Whose images the formats are compared on.")
@data_dir_option
@verbose_option
def export(file: Path, output: Path, name: str | None, dataset: str, data_dir: Path | None, verbose: bool) -> None:
    """Write a Keras model, a .keras or .h5 FILE, in all four formats."""
    if file.suffix not in (".keras", ".h5", ".hdf5"):
        raise click.ClickException(f"{file} is called {file.suffix or 'nothing'}; expected a .keras or .h5 file")
    with building(output, verbose=verbose) as builder:
        made = builder.export(file, name or file.stem, dataset, data_dir)
    click.echo(f"{output}: {', '.join(made)}")


@zoo.command()
@click.argument("name", type=click.Choice(tuple(APPLICATIONS)))
@click.option("--repository", type=FOLDER, default=DEFAULT_REPOSITORY, show_default=True, help="Where models go.")
@dataset_option("Whose images the formats are compared on.")
@data_dir_option
@verbose_option
def application(name: str, repository: Path, dataset: str, data_dir: Path | None, verbose: bool) -> None:
    """Write a large network with random weights in all four formats, for load tests."""
    with building(repository, verbose=verbose) as builder:
        made = builder.export_application(name, dataset, data_dir)
    click.echo(f"{repository}: {', '.join(made)} (untrained: random weights, the classes mean nothing)")


@zoo.command()
@click.option("--repository", type=FOLDER, required=True, help="Where models go.")
@verbose_option
def conformance(repository: Path, verbose: bool) -> None:
    """Write the models of known behaviour that `quadriga conformance` asks for."""
    with building(repository, verbose=verbose) as builder:
        made = builder.write_conformance()
    click.echo(f"{repository}: made {len(made)} models")


def _end(number: int, frame: FrameType | None) -> None:
    """Has SIGTERM end a build as Ctrl-C does: its job is killed, and its folder removed."""
    raise SystemExit(128 + number)


@contextmanager
def building(repository: Path, *, verbose: bool) -> Iterator[Builder]:
    """A builder with a progress display; its errors become one line."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as display:
        current: list[TaskID] = []

        def step(text: str) -> None:
            if current:
                display.update(current[-1], completed=1, total=1)
            current.append(display.add_task(text, total=None, figures=""))

        def epoch(event: Mapping[str, Any]) -> None:
            figures = f"loss {event['loss']:.3f}, accuracy {event['accuracy']:.3f}"
            display.update(current[-1], completed=event["number"], total=event["of"], figures=figures)

        before = signal.signal(signal.SIGTERM, _end)
        try:
            yield Builder(repository, BuilderProgress(step, epoch), verbose=verbose)
        except ZooError as error:
            raise click.ClickException(str(error)) from None
        finally:
            signal.signal(signal.SIGTERM, before)
        if current:
            display.update(current[-1], completed=1, total=1)
