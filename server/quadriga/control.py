"""The rpcs beside inference that only read: health, metadata, configuration and statistics. Server process."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from quadriga import __version__
from quadriga.config import ServerConfig
from quadriga.counters import ModelCounters
from quadriga.errors import InvalidInput, ModelNotFound, ModelNotReady, RequestError
from quadriga.model_version import ModelVersion, State
from quadriga.registry import ModelRegistry
from quadriga.specs import ANY, TensorSpec
from quadriga.transports import Handler
from quadriga.unary import unary
from quadriga_proto import inference_pb2 as pb

SERVER_NAME: Final = "quadriga"
#: Extensions that every server answers.
ALWAYS_ON: Final = (
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "parameters",
    "schedule_policy",
    "statistics",
)
#: Those of loading and unloading by request; the repository's index alone is always answered.
WITH_EXPLICIT_CONTROL: Final = ("model_repository", "model_repository(unload_dependents)")
WITH_CLIENT_MEMORY: Final = ("system_shared_memory",)


def extensions(config: ServerConfig) -> tuple[str, ...]:
    """What ServerMetadata advertises: the extensions that are on, and no other.

    perf_analyzer asks for statistics only when it finds "statistics" here.
    """
    return (
        *ALWAYS_ON,
        *(WITH_EXPLICIT_CONTROL if config.model_control == "explicit" else ()),
        *(WITH_CLIENT_MEMORY if config.allow_client_shm else ()),
    )


class ControlService:
    """Answers about the server and its models."""

    def __init__(self, models: ModelRegistry, ready: Callable[[], bool], extensions: Sequence[str]) -> None:
        """Reads from the registry; `ready` says whether the server as a whole is ready."""
        self._models = models
        self._ready = ready
        self._extensions = extensions

    def handlers(self) -> Mapping[str, Handler]:
        """The rpcs by method name."""
        return {
            "ServerLive": unary(pb.ServerLiveRequest, self.server_live),
            "ServerReady": unary(pb.ServerReadyRequest, self.server_ready),
            "ModelReady": unary(pb.ModelReadyRequest, self.model_ready),
            "ServerMetadata": unary(pb.ServerMetadataRequest, self.server_metadata),
            "ModelMetadata": unary(pb.ModelMetadataRequest, self.model_metadata),
            "ModelConfig": unary(pb.ModelConfigRequest, self.model_config),
            "ModelStatistics": unary(pb.ModelStatisticsRequest, self.model_statistics),
        }

    def server_live(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        """The process answers."""
        return pb.ServerLiveResponse(live=True)

    def server_ready(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        """Loading has ended, and the server is not draining."""
        return pb.ServerReadyResponse(ready=self._ready())

    def model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """Whether a model can answer now; false for one that is not known."""
        try:
            state = self._models.find(request.name, request.version).state
        except InvalidInput:  # a version that is no number
            raise
        except RequestError:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=state is State.READY and not self._models.draining)

    def server_metadata(self, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        """Name, version and what is served beyond the base protocol."""
        return pb.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=self._extensions)

    def model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        """A model's tensors, and in `properties` what its users ask next."""
        model = self._loaded(request.name, request.version)
        ready = [version.version_text for version in self._models.versions(model.name) if version.state is State.READY]
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=[model.version_text] if request.version else ready,
            platform=model.platform,
            inputs=[_tensor_metadata(tensor, model.spec.batches) for tensor in model.spec.inputs],
            outputs=[_tensor_metadata(tensor, model.spec.batches) for tensor in model.spec.outputs],
            properties=_properties(model),
        )

    def model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        """The configuration in force, defaults filled in."""
        model = self._models.find(request.name, request.version)
        spec = model.spec if model.loaded else None
        return pb.ModelConfigResponse(config=model.config.to_message(spec, model.platform))

    def model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        """Counts and durations since each version was loaded."""
        try:
            if not request.name:
                versions = self._models.all()
            elif request.version:
                versions = [self._models.find(request.name, request.version)]
            else:
                versions = self._models.versions(request.name)
        except (ModelNotFound, ModelNotReady) as error:
            raise InvalidInput(str(error)) from None  # Triton's code for this rpc
        return pb.ModelStatisticsResponse(model_stats=[_statistics(version) for version in versions if version.loaded])

    def _loaded(self, name: str, version: str) -> ModelVersion:
        model = self._models.find(name, version)
        return model if model.loaded else self._models.ready(name, version)


def _tensor_metadata(tensor: TensorSpec, batches: bool) -> pb.ModelMetadataResponse.TensorMetadata:
    shape = (ANY, *tensor.shape) if batches else tensor.shape
    return pb.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=shape)


def _properties(model: ModelVersion) -> dict[str, str]:
    properties = {
        "format": model.files.format,
        "backend": model.backend,
        "device": model.device,
        "load_ms": f"{(model.load_ns + model.warm_up_ns) / 1e6:.0f}",
        "max_batch_size": str(model.config.batch_policy(model.spec).max_batch_size),
        **model.export.properties(),
    }
    if model.spec.labels:
        properties["labels"] = json.dumps(model.spec.labels)
    return properties


def _statistics(model: ModelVersion) -> pb.ModelStatistics:
    counters = model.counters
    statistics = pb.ModelStatistics(
        name=model.name,
        version=model.version_text,
        last_inference=counters.last_ms,
        inference_count=counters.rows,
        execution_count=counters.batch_size.count,
        inference_stats=_inference_statistics(counters),
    )
    for size, sums in sorted(counters.by_batch_size.items()):
        statistics.batch_stats.add(
            batch_size=size,
            compute_input=pb.StatisticDuration(count=sums.batches, ns=sums.input_ns),
            compute_infer=pb.StatisticDuration(count=sums.batches, ns=sums.infer_ns),
            compute_output=pb.StatisticDuration(count=sums.batches, ns=sums.output_ns),
        )
    return statistics


def _inference_statistics(counters: ModelCounters) -> pb.InferStatistics:
    count = counters.answered
    return pb.InferStatistics(
        success=pb.StatisticDuration(count=count, ns=counters.total.sum),
        fail=pb.StatisticDuration(count=counters.failed.total(), ns=counters.failed_ns),
        queue=pb.StatisticDuration(count=count, ns=counters.queue.sum),
        compute_input=pb.StatisticDuration(count=count, ns=counters.input_ns),
        compute_infer=pb.StatisticDuration(count=count, ns=counters.infer_ns),
        compute_output=pb.StatisticDuration(count=count, ns=counters.output_ns),
    )
