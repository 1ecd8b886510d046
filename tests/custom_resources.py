"""Schemas of the custom resources in the manifests. They are our own, and have the fields that may be set, no others.

The operators' own definitions are not ours to copy. Names, types and what must be there are as in KServe 0.15
(serving.kserve.io), KEDA 2.17 (keda.sh) and Prometheus Operator 0.82 (monitoring.coreos.com). KServe's models in its
Python package, where that is installed, are held against the manifests besides: tests/kserve_manifests.py.
"""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_DURATION: Final[Schema] = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}


def _fields(required: str, **properties: Schema) -> Schema:
    """An object with these fields and no others; `required` names those that must be there."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema, "minItems": 1}


def _resource(version: str, kind: str, spec: Schema) -> Schema:
    metadata = _fields("name", name=_TEXT, namespace=_TEXT, labels=_TEXTS, annotations=_TEXTS)
    return _fields(
        "apiVersion kind metadata spec",
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )


_POD_MONITOR: Final = _fields(
    "selector podMetricsEndpoints",
    jobLabel=_TEXT,
    selector=_fields("", matchLabels=_TEXTS),
    podMetricsEndpoints=_list_of(_fields("", port=_TEXT, path=_TEXT, interval=_DURATION, scrapeTimeout=_DURATION)),
)
_SCALED_OBJECT: Final = _fields(
    "scaleTargetRef triggers",
    scaleTargetRef=_fields("name", name=_TEXT, kind=_TEXT, apiVersion=_TEXT),
    minReplicaCount=_COUNT,
    maxReplicaCount=_COUNT,
    pollingInterval=_COUNT,
    cooldownPeriod=_COUNT,
    advanced=_fields(
        "",
        horizontalPodAutoscalerConfig=_fields(
            "",
            behavior=_fields(
                "",
                scaleDown=_fields("", stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600}),
            ),
        ),
    ),
    # Whatever a trigger's metadata mean, they are texts; those of its type "prometheus" are named here.
    triggers=_list_of(
        _fields(
            "type metadata",
            type={"const": "prometheus"},
            name=_TEXT,
            metadata=_fields("serverAddress query threshold", serverAddress=_TEXT, query=_TEXT, threshold=_TEXT),
        )
    ),
)
#: As far as Kubernetes' own schema of a pod does not say more: those containers are validated in a pod's place.
_CONTAINER: Final[Schema] = {"type": "object", "required": ["name", "image"]}
_SERVING_RUNTIME: Final = _fields(
    "containers supportedModelFormats",
    annotations=_TEXTS,
    labels=_TEXTS,
    supportedModelFormats=_list_of(
        _fields(
            "name",
            name=_TEXT,
            version=_TEXT,
            autoSelect={"type": "boolean"},
            priority={"type": "integer", "minimum": 1},
        )
    ),
    protocolVersions=_list_of({"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]}),
    multiModel={"type": "boolean"},
    containers=_list_of(_CONTAINER),
    volumes=_list_of({"type": "object", "required": ["name"]}),
)
_INFERENCE_SERVICE: Final = _fields(
    "predictor",
    predictor=_fields(
        "model",
        minReplicas=_COUNT,
        maxReplicas=_COUNT,
        model=_fields(
            "modelFormat",
            runtime=_TEXT,
            modelFormat=_fields("name", name=_TEXT, version=_TEXT),
            protocolVersion={"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]},
            storageUri=_TEXT,
        ),
    ),
)
#: By kind.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "PodMonitor": _resource("monitoring.coreos.com/v1", "PodMonitor", _POD_MONITOR),
    "ScaledObject": _resource("keda.sh/v1alpha1", "ScaledObject", _SCALED_OBJECT),
    "ClusterServingRuntime": _resource("serving.kserve.io/v1alpha1", "ClusterServingRuntime", _SERVING_RUNTIME),
    "InferenceService": _resource("serving.kserve.io/v1beta1", "InferenceService", _INFERENCE_SERVICE),
}
