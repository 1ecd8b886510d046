"""`quadriga infer`: top classes of images from a running server, and where the time went. In the command's process."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.markup import escape
from rich.table import Table

from quadriga.commands.connection import Target, connection, target_options
from quadriga.commands.console import output_console
from quadriga.units import MICROSECOND_NS
from quadriga_client import Classification, Client, Timings
from quadriga_client.classification import classify_result
from quadriga_client.images import ImageInput

if TYPE_CHECKING:
    from quadriga_client.images import Image

_PHASES: Final = {"queue": "queue_ns", "batch": "batch_ns", "compute": "compute_ns", "total in the server": "total_ns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image to classify.

    Attributes:
        name: As the answer calls it.
        image: What the client sends.
        truth: Its true label, where that is known.
    """

    name: str
    image: "Image"
    truth: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request as the client saw it.

    Attributes:
        rows: Images in it.
        round_trip_ns: From before the call until the answer was there.
        timings: The server's own; None where it does not report them.
    """

    rows: int
    round_trip_ns: int
    timings: Timings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a run of the command found."""

    model: str
    version: str
    classes: list[list[Classification]]
    exchanges: list[Exchange]


@click.command(context_settings={"show_default": True})
@click.argument("model")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option("--sample", type=click.IntRange(min=1), help="Take that many images of a data set's test part.")
@click.option("--dataset", default="digits", help="Of --sample: digits, fashion_mnist or cifar10.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Of --sample: where the data set's files lie.")
@click.option("--top-k", type=click.IntRange(min=1), default=5, help="Classes per image.")
@click.option("--version", default="", show_default=False, help="Of the model; without it, the newest that is ready.")
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
def infer(
    model: str,
    images: tuple[Path, ...],
    sample: int | None,
    dataset: str,
    data_dir: Path | None,
    top_k: int,
    version: str,
    target: Target,
    as_json: bool,
) -> None:
    """Classify IMAGES with MODEL of a running server, and show where the time went."""
    pictures = [Picture(name=str(path), image=path) for path in images]
    if sample is not None:
        pictures += sample_pictures(dataset, data_dir, sample)
    if not pictures:
        raise click.UsageError("give image files, or --sample N for images of a data set")
    with connection(target) as client:
        answer = classify(client, model, version, pictures, top_k)
    if as_json:
        click.echo(json.dumps(document(target.url, answer, pictures)))
    else:
        console = output_console()
        console.print(classes_table(pictures, answer.classes))
        console.print(timings_table(answer.exchanges))


def sample_pictures(name: str, data_dir: Path | None, count: int) -> list[Picture]:
    """The first images of a data set's test part, with their true labels.

    Raises:
        click.ClickException: The data set is unknown, or its files are missing or damaged.
    """
    try:
        from quadriga_zoo.datasets import load
        from quadriga_zoo.errors import ZooError
    except ImportError as error:
        raise click.ClickException(f"--sample needs the data sets: pip install 'quadriga[zoo]' ({error})") from error
    try:
        dataset = load(name, data_dir)
    except ZooError as error:
        raise click.ClickException(str(error)) from None
    return [
        Picture(name=f"{name} test {index}", image=image, truth=dataset.labels[label])
        for index, (image, label) in enumerate(
            zip(dataset.test_images[:count], dataset.test_labels[:count].tolist(), strict=True)
        )
    ]


def classify(client: Client, model: str, version: str, pictures: Sequence[Picture], top_k: int) -> Answer:
    """What `Client.classify` does, one request at a time and with a watch in hand."""
    metadata = client.metadata(model, version)
    image_input = ImageInput.of(metadata)
    classes: list[list[Classification]] = []
    exchanges: list[Exchange] = []
    answered_by = version
    for rows, tensor in image_input.batches_of([picture.image for picture in pictures]):
        start = time.perf_counter_ns()
        result = client.infer(model, {image_input.name: tensor}, version=version)
        round_trip_ns = time.perf_counter_ns() - start
        classes += classify_result(result, metadata, rows, top_k)
        exchanges.append(Exchange(rows=rows, round_trip_ns=round_trip_ns, timings=result.timings))
        answered_by = result.model_version
    return Answer(model=model, version=answered_by, classes=classes, exchanges=exchanges)


def classes_table(pictures: Sequence[Picture], classes: Sequence[Sequence[Classification]]) -> Table:
    """The top classes of each image, with the true label where it is known."""
    with_truth = any(picture.truth is not None for picture in pictures)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("IMAGE", overflow="fold")
    if with_truth:
        table.add_column("TRUE LABEL")
    table.add_column("TOP CLASSES", overflow="fold")
    for picture, found in zip(pictures, classes, strict=True):
        shown = "   ".join(f"{entry.label} {entry.probability:.1%}" for entry in found)
        cells = [picture.name, *([picture.truth or ""] if with_truth else []), shown]
        table.add_row(*map(escape, cells))
    return table


def timings_table(exchanges: Sequence[Exchange]) -> Table:
    """Where the time of the requests went, on average."""
    images = sum(exchange.rows for exchange in exchanges)
    requests = len(exchanges)
    title = f"{images} image{'s'[: images > 1]} in {requests} request{'s'[: requests > 1]}"
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    table.add_column("TIME PER REQUEST")
    table.add_column("US", justify="right")
    timings = [exchange.timings for exchange in exchanges if exchange.timings is not None]
    if timings:
        for phase, field in _PHASES.items():
            table.add_row(phase, microseconds([getattr(timing, field) for timing in timings]))
    table.add_row("round trip", microseconds([exchange.round_trip_ns for exchange in exchanges]))
    return table


def microseconds(nanoseconds: Sequence[int]) -> str:
    """The mean, in a table's cell."""
    return f"{sum(nanoseconds) / len(nanoseconds) / MICROSECOND_NS:,.0f}"


def document(url: str, answer: Answer, pictures: Sequence[Picture]) -> dict[str, Any]:
    """The answer for programs."""
    return {
        "url": url,
        "model": answer.model,
        "version": answer.version,
        "images": [
            {
                "image": picture.name,
                "true_label": picture.truth,
                "classes": [asdict(entry) for entry in found],
            }
            for picture, found in zip(pictures, answer.classes, strict=True)
        ],
        "requests": [asdict(exchange) for exchange in answer.exchanges],
    }
