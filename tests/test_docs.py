"""What the documents say, held against the code."""

import re
from pathlib import Path

import click
import fake_nvml
import pytest

from quadriga.access import group_of
from quadriga.commands.load import load
from quadriga.commands.serve import serve
from quadriga.commands.status import status
from quadriga.config import GROUPS
from quadriga.config_file import load_model_config
from quadriga.counters import Phases
from quadriga.gpu_figures import read_gpus
from quadriga.metrics import HISTOGRAMS, make_registry
from quadriga.registry import ModelRegistry
from quadriga.requests import Course
from quadriga.service import InferenceService
from quadriga.spans import phases
from quadriga_proto.conventions import SERVICE
from quadriga_proto.inference_pb2 import DESCRIPTOR

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
FLAG_ROW = re.compile(r"^\| (`--.*)$", re.MULTILINE)


def options() -> dict[str, click.Option]:
    return {option.opts[0]: option for option in serve.params if isinstance(option, click.Option)}


def test_the_readmes_configuration_is_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "model.toml").write_text(block)
    config = load_model_config(tmp_path, tmp_path.name)
    assert (config.max_batch_size, config.batching.max_queue_delay_us, config.batching.queue.max_queue_size) == (
        32,
        500,
        256,
    )
    assert (config.threads, config.instance_groups[0].count) == (2, 2)
    assert config.parameters["keras_backend"] == "torch"


def test_the_readme_lists_every_flag_with_its_variable() -> None:
    rows = " ".join(FLAG_ROW.findall(README))
    for flag, option in options().items():
        assert f"`{flag}" in rows, flag
        variable = option.envvar or f"QUADRIGA_{str(option.name).upper()}"
        assert f"`{variable}`" in rows, variable


@pytest.mark.parametrize(
    "flag",
    [
        "--grpc-port", "--http-port", "--poll-seconds", "--drain-seconds", "--host", "--max-metadata-bytes",
        "--max-streams", "--keepalive-seconds", "--keepalive-timeout-seconds", "--min-ping-seconds",
    ],
)  # fmt: skip
def test_the_readmes_defaults_are_the_codes(flag: str) -> None:
    row = next(row for row in FLAG_ROW.findall(README) if f"`{flag}`" in row)
    default = options()[flag].default
    assert f"{default:g}" in row if isinstance(default, float) else str(default) in row


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text(), (ROOT / ".ci" / "run").read_text()):
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets


def test_files_that_the_architecture_names_exist() -> None:
    named = set(re.findall(r"\b((?:[a-z_]+/)*[a-z_]+\.py)\b", ARCHITECTURE))
    assert named
    places = (ROOT, ROOT / "server" / "quadriga", ROOT / "server" / "quadriga" / "workers")
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert missing == []


def test_the_readmes_metric_is_exported() -> None:
    named = set(re.findall(r"\b(quadriga_[a-z_]+_seconds)_count", README))
    assert named
    assert named <= {histogram.name for histogram in HISTOGRAMS}


def test_the_readme_lists_every_metric() -> None:
    listed = set(re.findall(r"`(quadriga_[a-z_]+)`", README))
    registry = make_registry(ModelRegistry(), InferenceService(ModelRegistry()), gpus=read_gpus(fake_nvml))
    exported = {metric.name + "_total" * (metric.type == "counter") for metric in registry.collect()}
    assert listed - {"quadriga_timings"} == exported


def test_the_page_on_security_names_flags_and_groups_that_exist() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    client_flags = {option.opts[0] for option in status.params if isinstance(option, click.Option)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) <= {*options(), *client_flags}
    assert set(re.findall(r"^\| `([a-z][a-z-]+)` \|", page, re.MULTILINE)) == set(GROUPS)


def test_the_page_on_tracing_has_the_flags_and_the_spans() -> None:
    page = (ROOT / "docs" / "tracing.md").read_text()
    ours = {"--trace-sample", "--trace-endpoint", "--trace-protocol"}
    assert ours <= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) <= options().keys()
    course = Course(0, 0, 1, Phases(0, 0, 0, 0))
    names = re.findall(r"^[├└]─ ((?:\w+ )*\w+) ", page, re.MULTILINE)
    assert names == [name for name, _, _ in phases(course, 0)]


def test_the_page_on_kubernetes_names_flags_and_places_that_exist() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    others = {"--config-path"}  # Envoy's
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) <= {*options(), *others}
    for path in set(re.findall(r"(?<!to/)\b(?:docker|tests)/[a-z_./-]+[a-z]", page)):
        assert (ROOT / path).exists(), path


def test_the_page_on_load_tests_names_flags_that_exist() -> None:
    page = (ROOT / "docs" / "load.md").read_text()
    flags = {option.opts[0] for option in load.params if isinstance(option, click.Option)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) <= {*flags, "--help"}


def test_the_page_on_security_has_every_rpc_in_its_group() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    for method in DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        group = group_of(f"/{SERVICE}/{method.name}")
        (row,) = re.findall(rf"^\| `{group}` \| (.*) \|$", page, re.MULTILINE)
        assert (method.name in row) is (group != "model-control" or method.name in ("LogSettings", "TraceSetting"))
