"""What the rules of docker/prometheus define, what the server exports, and the names that a PromQL expression uses."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from quadriga.metrics import make_registry
from quadriga.registry import ModelRegistry
from quadriga.service import InferenceService

PROMETHEUS: Final = Path(__file__).parents[1] / "docker" / "prometheus"
#: Of a metric family, the names of its samples.
_SUFFIXES: Final = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME: Final = re.compile(r"\bquadriga[a-zA-Z0-9_:]*|\bup\b|\bALERTS\b")


def exported_names() -> set[str]:
    """Of every sample that a server may export."""
    registry = make_registry(ModelRegistry(), InferenceService(ModelRegistry()))
    return {family.name + suffix for family in registry.collect() for suffix in _SUFFIXES[family.type]}


def rules() -> list[dict[str, Any]]:
    """Every rule, recording and alerting, in the order of files and groups."""
    files = [yaml.safe_load(file.read_text()) for file in sorted((PROMETHEUS / "rules").glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def recorded_names() -> set[str]:
    """What recording rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def known_names() -> set[str]:
    """Every metric that a Prometheus with our rules and a Quadriga has; two are its own."""
    return exported_names() | recorded_names() | {"up", "ALERTS"}


def names_in(expression: str) -> set[str]:
    """The metrics that a PromQL expression uses; none of our labels begins like one."""
    return set(_NAME.findall(_STRING.sub("", expression)))
