"""Every metric that the product promises, by name, type and labels, after one answered and one refused request."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fake_nvml
import grpc
import numpy as np
import pytest
from oip import error_of, infer_request, rpc
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from running_server import RunningServer

from quadriga import __version__
from quadriga.queue_policy import DEFAULT_MAX_QUEUE_SIZE

ROWS = 3
MODEL = frozenset({"model", "version", "backend", "device"})
OF_MODEL = {"model": "echo", "version": "1", "backend": "fake", "device": "cpu"}


class Promise(NamedTuple):
    """A metric family: its type and the labels of each of its samples."""

    type: str
    labels: frozenset[str]


GPU = frozenset({"gpu", "uuid", "name"})
#: All there are; a new metric is to be added here, and to the documentation.
PROMISED = {
    "quadriga_requests": Promise("counter", MODEL | {"outcome", "code", "reason"}),
    "quadriga_rows": Promise("counter", MODEL),
    "quadriga_request_duration_seconds": Promise("histogram", MODEL),
    "quadriga_queue_duration_seconds": Promise("histogram", MODEL),
    "quadriga_batch_assembly_duration_seconds": Promise("histogram", MODEL),
    "quadriga_compute_duration_seconds": Promise("histogram", MODEL),
    "quadriga_response_duration_seconds": Promise("histogram", MODEL),
    "quadriga_batch_size": Promise("histogram", MODEL),
    "quadriga_model_ready": Promise("gauge", MODEL),
    "quadriga_model_load_seconds": Promise("gauge", MODEL),
    "quadriga_model_warm_up_seconds": Promise("gauge", MODEL),
    "quadriga_model_file_bytes": Promise("gauge", MODEL),
    "quadriga_queue_depth": Promise("gauge", MODEL),
    "quadriga_queue_limit": Promise("gauge", MODEL),
    "quadriga_batches_in_flight": Promise("gauge", MODEL),
    "quadriga_workers_up": Promise("gauge", MODEL),
    "quadriga_worker_restarts": Promise("counter", MODEL),
    "quadriga_worker_deaths": Promise("counter", MODEL | {"reason"}),
    "quadriga_worker_resident_memory_bytes": Promise("gauge", MODEL | {"worker"}),
    "quadriga_worker_cpu_seconds": Promise("counter", MODEL | {"worker"}),
    "quadriga_server_resident_memory_bytes": Promise("gauge", frozenset()),
    "quadriga_server_cpu_seconds": Promise("counter", frozenset()),
    "quadriga_build_info": Promise("gauge", frozenset({"version", "python"})),
    "quadriga_gpu_utilization_ratio": Promise("gauge", GPU),
    "quadriga_gpu_memory_used_bytes": Promise("gauge", GPU),
    "quadriga_gpu_memory_total_bytes": Promise("gauge", GPU),
    "quadriga_gpu_power_watts": Promise("gauge", GPU),
    "quadriga_gpu_energy_joules": Promise("counter", GPU),
    "quadriga_worker_gpu_memory_bytes": Promise("gauge", MODEL | {"worker"} | GPU),
}
HISTOGRAMS = [name for name, promise in PROMISED.items() if promise.type == "histogram"]

#: By family: its type and its samples.
Families = dict[str, tuple[str, list[Sample]]]


@pytest.fixture(scope="module")
def server(
    start: Callable[..., RunningServer], repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    """With GPUs, as far as it can tell."""
    return start("--repository", str(repository), env=fake_nvml.environment(tmp_path_factory.mktemp("nvml")))


@pytest.fixture(scope="module")
def families(server: RunningServer) -> Families:
    """What is exported after one request was answered and one refused."""
    with grpc.insecure_channel(server.grpc) as channel:
        rpc(channel, "ModelInfer", infer_request("echo", x=np.ones((ROWS, 4), np.float32)))
        code, _ = error_of(channel, "ModelInfer", infer_request("echo", x=np.ones((1, 4), np.float64)))
    assert code == "INVALID_ARGUMENT"
    return exported(server, "/metrics")


def exported(server: RunningServer, path: str) -> Families:
    _, text = server.get(path)
    return {family.name: (family.type, family.samples) for family in text_string_to_metric_families(text)}


def values(families: Families, name: str, **labels: str) -> list[float]:
    """Of the samples with that name and those labels, of whichever family."""
    wanted = labels.items()
    samples = [sample for _, group in families.values() for sample in group]
    return [sample.value for sample in samples if sample.name == name and wanted <= sample.labels.items()]


def test_what_is_exported_is_what_is_promised(families: Families) -> None:
    assert {name: type for name, (type, _) in families.items()} == {name: p.type for name, p in PROMISED.items()}


@pytest.mark.parametrize("name", PROMISED)
def test_every_sample_has_the_promised_labels(families: Families, name: str) -> None:
    _, samples = families[name]
    assert samples
    for sample in samples:
        assert sample.labels.keys() - {"le"} == PROMISED[name].labels
        if "model" in sample.labels:
            assert OF_MODEL.items() <= sample.labels.items()


def test_requests_are_told_by_outcome_code_and_reason(families: Families) -> None:
    name = "quadriga_requests_total"
    assert values(families, name, **OF_MODEL, outcome="answered", code="OK", reason="") == [1]
    assert values(families, name, **OF_MODEL, outcome="refused", code="INVALID_ARGUMENT", reason="invalid_input") == [1]
    assert sum(values(families, name)) == 2
    assert values(families, "quadriga_rows_total", **OF_MODEL) == [ROWS]


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_every_histogram_saw_the_one_batch(families: Families, name: str) -> None:
    assert values(families, f"{name}_count", **OF_MODEL) == [1]
    (total,) = values(families, f"{name}_sum", **OF_MODEL)
    assert total == ROWS if name == "quadriga_batch_size" else 0 < total < 60
    buckets = values(families, f"{name}_bucket", **OF_MODEL)
    assert len(buckets) > 10
    assert buckets == sorted(buckets)
    assert values(families, f"{name}_bucket", **OF_MODEL, le="+Inf") == [1]


def test_the_file_was_measured_when_it_was_loaded(families: Families, repository: Path) -> None:
    size = (repository / "echo" / "1" / "model.fake").stat().st_size
    assert values(families, "quadriga_model_file_bytes", **OF_MODEL) == [size]


def test_one_model_can_be_asked_for_alone(server: RunningServer) -> None:
    assert values(exported(server, "/metrics?model=echo"), "quadriga_model_ready") == [1]
    others = exported(server, "/metrics?model=ech%C3%B6")
    assert values(others, "quadriga_model_ready") == []
    assert values(others, "quadriga_server_cpu_seconds_total") != []


def test_states_and_processes_are_told(families: Families) -> None:
    exact = {
        "quadriga_model_ready": 1,
        "quadriga_queue_depth": 0,
        "quadriga_queue_limit": DEFAULT_MAX_QUEUE_SIZE,
        "quadriga_batches_in_flight": 0,
        "quadriga_workers_up": 1,
        "quadriga_worker_restarts_total": 0,
    }
    assert values(families, "quadriga_worker_deaths_total", **OF_MODEL) == [0, 0, 0]  # by reason, from the start
    assert {name: values(families, name, **OF_MODEL) for name in exact} == {name: [n] for name, n in exact.items()}
    positive = (
        "quadriga_model_load_seconds",
        "quadriga_worker_resident_memory_bytes",
        "quadriga_worker_cpu_seconds_total",
    )
    for name in positive:
        (value,) = values(families, name, **OF_MODEL)
        assert value > 0, name
    for name in ("quadriga_server_resident_memory_bytes", "quadriga_server_cpu_seconds_total"):
        (value,) = values(families, name)
        assert value > 0, name
    assert values(families, "quadriga_build_info", version=__version__) == [1]


def test_a_worker_is_seen_on_its_gpu(families: Families) -> None:
    (sample,) = families["quadriga_worker_gpu_memory_bytes"][1]
    (worker,) = families["quadriga_worker_resident_memory_bytes"][1]
    assert sample.labels == {**worker.labels, "gpu": "0", "uuid": fake_nvml.UUIDS[0], "name": fake_nvml.NAMES[0]}
    assert sample.value == fake_nvml.USED
    assert values(families, "quadriga_gpu_energy_joules_total", gpu="0") == [1234.567]
    assert values(families, "quadriga_gpu_energy_joules_total", gpu="1") == []
