"""Holds manifests against the models of KServe's Python package, and Kubernetes' below them; prints what does not fit.

Run by a Python that has `kserve`, as `kserve_session` is; the manifests come on stdin as a JSON list.

    python kserve_manifests.py < manifests.json
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import kserve
from kubernetes import client

MODELS = {"ClusterServingRuntime": "V1alpha1ClusterServingRuntime", "InferenceService": "V1beta1InferenceService"}
PLAIN: dict[str, Any] = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def problems(value: Any, type_name: str, where: str) -> Iterator[str]:
    """What of a value is not as its type has it: unknown fields, missing ones, other types."""
    if match := re.fullmatch(r"[Ll]ist\[(.+)\]", type_name):
        if not isinstance(value, list):
            yield f"{where} is {value!r}; expected a list"
            return
        for index, element in enumerate(value):
            yield from problems(element, match[1], f"{where}[{index}]")
    elif match := re.fullmatch(r"[Dd]ict[(\[]\w+, (.+)[)\]]", type_name):
        if not isinstance(value, dict):
            yield f"{where} is {value!r}; expected a mapping"
            return
        for key, element in value.items():
            yield from problems(element, match[1], f"{where}.{key}")
    elif type_name in PLAIN:
        if not isinstance(value, PLAIN[type_name]):
            yield f"{where} is {value!r}; expected {type_name}"
    elif type_name not in ("IntstrIntOrString", "ResourceQuantity", "KnativeURL", "KnativeVolatileTime"):
        yield from problems_of_fields(value, model(type_name), where)


def problems_of_fields(value: Any, kind: Any, where: str) -> Iterator[str]:
    """The same of an object's fields; its model's own setters tell of those that must be there."""
    if not isinstance(value, dict):
        yield f"{where} is {value!r}; expected an object"
        return
    attributes = {name: attribute for attribute, name in kind.attribute_map.items()}
    for name, field in value.items():
        if name not in attributes:
            yield f"{where} has no {name}"
        else:
            yield from problems(field, kind.openapi_types[attributes[name]], f"{where}.{name}")
    try:
        kind(**{attributes[name]: field for name, field in value.items() if name in attributes})
    except ValueError as error:
        yield f"{where}: {error}"


def model(name: str) -> Any:
    """The class of a type: KServe's, or Kubernetes'."""
    return getattr(kserve.models, name, None) or getattr(client, name)


if __name__ == "__main__":
    found = [
        problem
        for manifest in json.load(sys.stdin)
        for problem in problems(manifest, MODELS[manifest["kind"]], manifest["kind"])
    ]
    print("\n".join(found))
    sys.exit(bool(found))
