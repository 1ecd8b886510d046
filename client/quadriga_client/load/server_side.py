"""The server's own story of an interval: where it is told, and what lies between two readings. Client's process."""

from dataclasses import dataclass, fields, replace
from typing import Final, Protocol

from quadriga_client.client import Client
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.errors import LoadError
from quadriga_client.load.metrics_page import fetch, of_model, page_url
from quadriga_client.load.report import ServerSide
from quadriga_client.load.server_reading import ModelFacts, ServerReading, Sums, from_page, from_statistics
from quadriga_client.rpcs import host_of
from quadriga_proto.conventions import DEFAULT_HTTP_PORT

STATISTICS: Final = "ModelStatistics"
#: For a page whose URL was given, and for one that was only guessed.
_SECONDS: Final = 5.0
_GUESS_SECONDS: Final = 1.0
#: By this much may the server's count of requests differ from the client's: a share, and besides it those under way.
_TOLERANCE: Final = 0.01
_UNDER_WAY: Final = 8
_MEGABYTE: Final = 1e6
#: How far a number of ms may be from itself rounded to a whole one.
_ROUNDED_MS: Final = 0.501


class ServerProbe(Protocol):
    """Asks a server for its counters of one model."""

    def read(self) -> ServerReading:
        """As of now.

        Raises:
            LoadError: The server does not tell any more.
        """


@dataclass(frozen=True, slots=True)
class PageProbe:
    """Reads a metrics page."""

    url: str
    model: str
    version: str
    seconds: float = _SECONDS

    def read(self) -> ServerReading:
        """See `ServerProbe`."""
        return from_page(fetch(self.url, self.seconds), self.url, self.model, self.version)


@dataclass(frozen=True, slots=True)
class StatisticsProbe:
    """Calls the rpc ModelStatistics."""

    client: Client
    model: str
    version: str

    def read(self) -> ServerReading:
        """See `ServerProbe`."""
        try:
            statistics = self.client.statistics(self.model, self.version, timeout=_SECONDS)
        except QuadrigaClientError as error:
            raise LoadError(f"the server gives no statistics of model {self.model!r}: {error}") from error
        if not statistics:
            raise LoadError(f"the server has no statistics of model {self.model!r}")
        return from_statistics(statistics, STATISTICS)


def find_probe(client: Client, model: str, version: str, metrics_url: str | None) -> ServerProbe | None:
    """The best source that there is: a metrics page, else ModelStatistics, else None.

    Without a URL, Quadriga's own page is looked for at its default port on the server's host, and taken where it is the
    same server's: it tells the same load time to the millisecond as the model's metadata.

    Args:
        client: Of the server.
        model: Its name.
        version: As the server's answers have it; empty: the newest, where the server tells versions by number.
        metrics_url: HOST:PORT or http://HOST:PORT/metrics; None: not given.

    Raises:
        LoadError: A URL was given, and what came from it is no metrics page with this model.
    """
    load_ms = None
    try:
        metadata = client.metadata(model, version, timeout=_SECONDS)
        load_ms = metadata.properties.get("load_ms")
        version = version or max(filter(str.isdecimal, metadata.versions), key=int, default="")
    except QuadrigaClientError:
        pass  # whoever sends the load will say it
    if metrics_url is not None:
        page = PageProbe(page_url(metrics_url), model, version)
        of_quadriga = page.read().per_batch
        return replace(page, url=of_model(page.url, model)) if of_quadriga else page
    if load_ms is not None and (guess := _guess(client.url, model, version, load_ms)):
        return guess
    statistics = StatisticsProbe(client, model, version)
    try:
        statistics.read()
    except LoadError:
        return None
    return statistics


def between(
    before: ServerReading, after: ServerReading, *, sent: int, mean_service_ms: float, under_way: int = _UNDER_WAY
) -> ServerSide:
    """What happened between two readings of one probe.

    A batch's time counts for each of its requests. Where the server counts batches once, the requests' time between
    queue and response is known exactly, and is shared out between assembly and compute as it is over all batches; that
    is exact where batches are alike.

    Args:
        before: At the start.
        after: At the end.
        sent: Requests that the client sent meanwhile, or those of them that were answered with OK.
        mean_service_ms: Of those that were answered, as the client saw it.
        under_way: Requests at the edges, which one side counts and the other does not.
    """
    if _anew(before, after):
        note = "the server loaded the model anew meanwhile, so that its counters do not span the time"
        return ServerSide(source=after.source, requests=int(after.sums.answered), only_ours=False, note=note)
    sums = _difference(before.sums, after.sums)
    answered = sums.answered
    slack = under_way + _TOLERANCE * sent
    ended = sent if sums.ended is None else sums.ended
    only_ours = answered <= sent + slack and sent <= ended + slack
    if not answered:
        return ServerSide(source=after.source, requests=0, only_ours=only_ours, memory_mb=_memory_mb(after.facts))
    assembly, compute = _assembly_and_compute(sums, after.per_batch)
    cpu_s = _cpu_seconds(before, after)
    lost = bool(before.worker_cpu) and cpu_s is None
    return ServerSide(
        source=after.source,
        requests=int(answered),
        queue_ms=sums.queue / answered,
        assembly_ms=assembly / answered,
        compute_ms=compute / answered,
        response_ms=sums.response / answered,
        transport_ms=max(mean_service_ms - sums.total / answered, 0.0) if only_ours else None,
        rows_per_batch=sums.rows / sums.batches if sums.batches else None,
        cpu_ms=None if cpu_s is None else cpu_s * 1e3 / answered,
        only_ours=only_ours,
        memory_mb=_memory_mb(after.facts),
        note="a worker was replaced meanwhile, so that its CPU time is not known" if lost else "",
    )


def describe(probe: ServerProbe) -> ModelFacts:
    """What the server tells of the model besides its requests.

    Raises:
        LoadError: It does not tell any more.
    """
    return probe.read().facts


def _guess(url: str, model: str, version: str, load_ms: str) -> PageProbe | None:
    host = host_of(url)
    if not host:
        return None
    netloc = f"[{host}]:{DEFAULT_HTTP_PORT}" if ":" in host else f"{host}:{DEFAULT_HTTP_PORT}"
    try:
        page = of_model(page_url(netloc), model)
        facts = PageProbe(page, model, version, _GUESS_SECONDS).read().facts
    except LoadError:
        return None
    if facts.load_seconds is None or facts.warm_up_seconds is None:
        return None
    told_ms = (facts.load_seconds + facts.warm_up_seconds) * 1e3
    same = load_ms.isdecimal() and abs(told_ms - int(load_ms)) < _ROUNDED_MS
    return PageProbe(page, model, version) if same else None


def _difference(before: Sums, after: Sums) -> Sums:
    values: dict[str, float | None] = {}
    for each in fields(Sums):
        first, last = getattr(before, each.name), getattr(after, each.name)
        values[each.name] = None if first is None or last is None else last - first
    return Sums(**values)  # type: ignore[arg-type]


def _anew(before: ServerReading, after: ServerReading) -> bool:
    """Whether the model was loaded in between: by the load time, or by counters that went back."""
    if before.facts.load_seconds != after.facts.load_seconds:
        return True
    names = [each.name for each in fields(Sums) if each.name != "ended"]
    return any(getattr(after.sums, name) < getattr(before.sums, name) for name in names)


def _assembly_and_compute(sums: Sums, per_batch: bool) -> tuple[float, float]:
    """Both as sums over requests."""
    of_batches = sums.assembly + sums.compute
    if not per_batch or not of_batches:
        return sums.assembly, sums.compute
    together = max(sums.total - sums.queue - sums.response, 0.0)
    return together * sums.assembly / of_batches, together * sums.compute / of_batches


def _memory_mb(facts: ModelFacts) -> float | None:
    known = [each for each in (facts.memory_bytes, facts.server_memory_bytes) if each is not None]
    return sum(known) / _MEGABYTE if known else None


def _cpu_seconds(before: ServerReading, after: ServerReading) -> float | None:
    """Of the workers and the server process; None where a worker was replaced, whose last seconds nobody saw."""
    if before.server_cpu is None or after.server_cpu is None or not after.worker_cpu:
        return None
    if before.restarts != after.restarts or before.worker_cpu.keys() != after.worker_cpu.keys():
        return None
    workers = [after.worker_cpu[worker] - before.worker_cpu[worker] for worker in after.worker_cpu]
    return sum(workers) + after.server_cpu - before.server_cpu if min(workers) >= 0 else None
