"""The page's plots. Pure."""

from collections.abc import Callable, Sequence

from quadriga_client.load.formats.canvas import Axis
from quadriga_client.load.formats.document import Picture
from quadriga_client.load.formats.plots import Point, Series, line_plot
from quadriga_client.load.report import Interval
from study.claims import KERAS, many
from study.figures import Calls, Served
from study.findings import name_of
from study.ways import MODEL, MODULE, PREDICT, SERVED, SIGNATURE

#: What the plots of calls show, from the slowest way to the fastest, by names that fit beside a line.
_WAYS = (
    (KERAS, PREDICT, "Keras predict"),
    (KERAS, MODEL, "Keras model(x)"),
    ("tensorflow", SIGNATURE, "SavedModel signature"),
    ("pytorch", MODULE, "PyTorch module(x)"),
    (KERAS, SERVED, "Keras as served"),
    ("onnx", SERVED, "ONNX as served"),
)


def calls_plots(calls: Sequence[Calls]) -> list[Picture]:
    """Milliseconds by batch size, for each number of threads."""
    pictures = []
    for threads in sorted({each.threads for each in calls}):
        series = [
            Series(
                name,
                [
                    point(each.batch, each.median())
                    for each in calls
                    if (each.framework, each.way, each.threads) == (framework, way, threads)
                ],
            )
            for framework, way, name in _WAYS
        ]
        batches = tuple(sorted({each.batch for each in calls}))
        caption = f"Time of a call by batch size, on {many(threads, 'thread')}; both axes are logarithmic."
        svg = line_plot(
            [each for each in series if each.points],
            name=f"calls-{threads}",
            label=caption,
            x=Axis("rows per call", "log", batches),
            y=Axis("ms per call", "log"),
        )
        pictures.append(Picture(svg, caption))
    return pictures


def served_plots(served: Sequence[Served]) -> list[Picture]:
    """Answers per second by callers, and the median latency by rate; one row a request.

    Quadriga's models apart from naive servers; of these, those that have what threads their framework takes by itself.
    """
    of_one = [each for each in served if each.rows == 1]
    pictures = []
    for name, whose, own in (
        ("quadriga", "of Quadriga's models", [each for each in of_one if not each.naive]),
        ("naive", "of naive servers", [each for each in of_one if each.naive and each.threads is None]),
    ):
        closed = [each for each in own if each.mode == "closed" and all(each.throughput)]
        opened = [each for each in own if each.mode == "open" and each.p50_ms]
        if closed:
            caption = f"Answers per second by callers, {whose}, one row a request; both axes are logarithmic."
            svg = line_plot(
                _by_server(closed, Served.rate),
                name=f"served-{name}",
                label=caption,
                x=Axis("callers", "log", tuple(sorted({each.level for each in closed}))),
                y=Axis("answers per second", "log"),
            )
            pictures.append(Picture(svg, caption))
        if opened:
            caption = (
                f"Median latency by rate of Poisson arrivals, {whose}, from when they were due; logarithmic upwards."
            )
            svg = line_plot(
                _by_server(opened, Served.median),
                name=f"served-{name}-open",
                label=caption,
                x=Axis("requests per second"),
                y=Axis("p50 ms", "log"),
            )
            pictures.append(Picture(svg, caption))
    return pictures


def _by_server(served: Sequence[Served], figure: Callable[[Served], Interval]) -> list[Series]:
    names = dict.fromkeys((each.server, each.naive) for each in served)
    return [
        Series(
            f"naive {server.partition(': ')[2]}" if naive else name_of(server),
            [point(each.level, figure(each), counts=not each.saturated) for each in served if each.server == server],
        )
        for server, naive in names
    ]


def point(x: float, interval: Interval, *, counts: bool = True) -> Point:
    """A figure's point."""
    return Point(x, interval.value, interval.low, interval.high, counts=counts)
