"""From plain counters to what Prometheus reads: buckets that add up, units, and whose samples they are."""

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from quadriga.counters import DURATION_BOUNDS_NS, SIZE_BOUNDS, ModelCounters, Phases
from quadriga.metrics import HISTOGRAMS, make_registry
from quadriga.model_version import State
from quadriga.registry import ModelRegistry
from quadriga.service import InferenceService

LABELS = {"model": "m", "version": "3", "backend": "onnx", "device": "cpu"}
PHASES = Phases(assembly_ns=20_000, waiting_ns=0, infer_ns=4_000_000, output_ns=1_000_000)
NO_PROCESS = 2**22 + 1  # above any pid that Linux gives


class Registry:
    """The models of a server, as the collector sees them."""

    def __init__(self, *versions: object) -> None:
        self._versions = list(versions)

    def all(self) -> list[object]:
        return self._versions


def version_of(counters: ModelCounters, **fields: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            "name": "m",
            "version_text": "3",
            "backend": "onnx",
            "device": "cpu",
            "counters": counters,
            "loaded": True,
            "state": State.READY,
            "load_ns": 1_500_000_000,
            "warm_up_ns": 250_000_000,
            "file_bytes": 12_345,
            "workers": [SimpleNamespace(pid=NO_PROCESS, name="m/3")],
            "restarts": 2,
            "deaths": {"hung": 1},
            "scheduler": SimpleNamespace(waiting=4, queue_limit=8, in_flight=1),
            **fields,
        }
    )


class Exported:
    """What a server with some versions exports."""

    def __init__(self, *versions: object, refused: Counter[tuple[str, str]] | None = None, model: str = "") -> None:
        service = SimpleNamespace(refused=refused or Counter())
        models = cast("ModelRegistry", Registry(*versions))
        registry = make_registry(models, cast("InferenceService", service), model)
        generate_latest(registry)  # must be valid, too
        self._samples = [sample for family in registry.collect() for sample in family.samples]

    def values(self, name: str, **labels: str) -> list[float]:
        found = (sample for sample in self._samples if sample.name == name)
        return [sample.value for sample in found if labels.items() <= sample.labels.items()]

    def buckets(self, name: str) -> Iterator[tuple[float, float]]:
        for sample in self._samples:
            if sample.name == f"{name}_bucket":
                yield float(sample.labels["le"]), sample.value


@pytest.fixture
def exported() -> Exported:
    counters = ModelCounters()
    for rows in (1, 4, 2000):
        counters.count_batch(rows, PHASES)
    counters.count_answer(4, 0, PHASES, 0)
    counters.count_failure("CANCELLED", "cancelled", 10)
    counters.refused["UNAVAILABLE", "overloaded"] += 3
    return Exported(version_of(counters), refused=Counter({("NOT_FOUND", "not_found"): 7}))


@pytest.mark.parametrize("histogram", HISTOGRAMS, ids=lambda histogram: histogram.name)
def test_buckets_cumulate_up_to_the_count(exported: Exported, histogram: Any) -> None:
    bounds, counts = zip(*exported.buckets(histogram.name), strict=True)
    assert list(bounds) == sorted(bounds)
    assert bounds[-1] == float("inf")
    assert list(counts) == sorted(counts)
    assert [counts[-1]] == exported.values(f"{histogram.name}_count", **LABELS)


def test_a_size_is_in_every_bucket_that_is_not_below_it(exported: Exported) -> None:
    buckets = dict(exported.buckets("quadriga_batch_size"))
    assert set(buckets) == {*map(float, SIZE_BOUNDS), float("inf")}
    assert [buckets[bound] for bound in (1, 3, 4, 512, float("inf"))] == [1, 1, 2, 2, 3]
    assert exported.values("quadriga_batch_size_sum") == [2005]


def test_durations_are_in_seconds(exported: Exported) -> None:
    buckets = dict(exported.buckets("quadriga_compute_duration_seconds"))
    assert sorted(buckets)[:-1] == pytest.approx([bound / 1e9 for bound in DURATION_BOUNDS_NS])
    assert (buckets[0.003], buckets[0.005]) == (0, 3)
    assert exported.values("quadriga_compute_duration_seconds_sum") == pytest.approx([0.015])
    assert exported.values("quadriga_batch_assembly_duration_seconds_sum") == pytest.approx([6e-5])
    assert exported.values("quadriga_request_duration_seconds_sum") == pytest.approx([0.00502])
    assert exported.values("quadriga_model_load_seconds", **LABELS) == [1.5]
    assert exported.values("quadriga_model_warm_up_seconds", **LABELS) == [0.25]


def test_the_size_on_disk_is_in_bytes(exported: Exported) -> None:
    assert exported.values("quadriga_model_file_bytes", **LABELS) == [12_345]


def test_one_model_can_be_asked_for_alone() -> None:
    versions = [version_of(ModelCounters(), name=name) for name in ("m", "n")]
    alone = Exported(*versions, refused=Counter({("NOT_FOUND", "not_found"): 7}), model="n")
    for name in ("quadriga_requests_total", "quadriga_compute_duration_seconds_count", "quadriga_workers_up"):
        assert [len(alone.values(name, model=model)) for model in ("m", "n")] == [0, 1]
    assert alone.values("quadriga_requests_total", model="", code="NOT_FOUND") == [7]
    assert alone.values("quadriga_server_cpu_seconds_total") != []
    assert Exported(*versions, model="nobody").values("quadriga_model_ready") == []


def test_requests_are_exported_by_how_they_ended(exported: Exported) -> None:
    name = "quadriga_requests_total"
    assert exported.values(name, **LABELS, outcome="answered", code="OK", reason="") == [1]
    assert exported.values(name, **LABELS, outcome="failed", code="CANCELLED", reason="cancelled") == [1]
    assert exported.values(name, **LABELS, outcome="refused", code="UNAVAILABLE", reason="overloaded") == [3]
    nameless = dict.fromkeys(LABELS, "")
    assert exported.values(name, **nameless, outcome="refused", code="NOT_FOUND", reason="not_found") == [7]
    assert sum(exported.values(name)) == 12
    assert exported.values("quadriga_rows_total", **LABELS) == [4]


def test_the_state_of_queue_and_workers_is_exported(exported: Exported) -> None:
    gauges = ("model_ready", "queue_depth", "queue_limit", "batches_in_flight", "workers_up", "worker_restarts_total")
    assert [exported.values(f"quadriga_{gauge}", **LABELS) for gauge in gauges] == [[1], [4], [8], [1], [1], [2]]


def test_a_worker_that_died_a_moment_ago_does_not_spoil_the_scrape(exported: Exported) -> None:
    assert exported.values("quadriga_worker_resident_memory_bytes") == []
    (own,) = exported.values("quadriga_server_resident_memory_bytes")
    assert own > 1e6


def test_a_version_that_could_not_be_loaded_is_not_ready_and_has_no_queue() -> None:
    nothing = dict.fromkeys(("load_ns", "warm_up_ns", "file_bytes"), 0)
    bare = {"device": "", "loaded": False, "state": State.UNAVAILABLE, "workers": [], **nothing}
    exported = Exported(version_of(ModelCounters(), **bare))
    assert exported.values("quadriga_model_ready", model="m", version="3") == [0]
    assert exported.values("quadriga_queue_depth") == []
    assert exported.values("quadriga_batch_size_count") == []
