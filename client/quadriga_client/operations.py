"""What each method of the clients does, without any I/O; runs in the user's process.

An operation is a generator: it yields the rpc to make, receives its response or its failure, and returns the method's
result. `Client` and `AsyncClient` differ only in how they make the rpcs, so they cannot drift apart.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from google.protobuf.message import Message

from quadriga_client.classification import classify_result
from quadriga_client.errors import InputError, InvalidArgument, NotFound, ResponseError, Unavailable, Unimplemented
from quadriga_client.images import ImageInput, Images, as_sequence
from quadriga_client.repository import Config, Files, load_request
from quadriga_client.requests import Inputs, Parameters, infer_request
from quadriga_client.results import (
    Classification,
    InferResult,
    ModelMetadata,
    ModelStatus,
    ServerMetadata,
    is_number,
)
from quadriga_client.rpcs import Rpc
from quadriga_client.statistics import ModelStatistics
from quadriga_proto import inference_pb2 as pb

Result = TypeVar("Result")
Response = TypeVar("Response", bound=Message)
Steps: TypeAlias = Generator[Rpc, Message, Result]


class Operations:
    """The operations of one client, and the metadata of models that it has seen."""

    def __init__(self) -> None:
        self._metadata: dict[tuple[str, str], ModelMetadata] = {}

    def infer(
        self,
        model: str,
        inputs: "Inputs",
        *,
        version: str,
        outputs: Sequence[str],
        request_id: str,
        parameters: "Parameters | None",
    ) -> Steps[InferResult]:
        """See `Client.infer`."""
        metadata = yield from self._known(model, version)
        request = infer_request(
            model,
            metadata,
            inputs,
            version=version,
            outputs=outputs,
            request_id=request_id,
            parameters=parameters,
        )
        try:
            response = yield from unary("ModelInfer", request, pb.ModelInferResponse)
        except (InvalidArgument, NotFound):
            # The model may have been replaced by one with another contract.
            self._metadata.pop((model, version), None)
            raise
        return InferResult.from_message(response)

    def classify(
        self,
        model: str,
        images: "Images",
        *,
        top_k: int,
        version: str,
        request_id: str,
        parameters: "Parameters | None",
    ) -> Steps[list[list[Classification]]]:
        """See `Client.classify`."""
        if top_k < 1:
            raise InputError(f"top_k is at least 1, got {top_k}")
        metadata = yield from self._known(model, version)
        sequence = as_sequence(images)
        image_input = ImageInput.of(metadata)
        if image_input.limit is None and len(sequence) > 1:
            image_input = replace(image_input, limit=(yield from self._configured_limit(model, version)))
        classifications: list[list[Classification]] = []
        for rows, tensor in image_input.batches_of(sequence):
            result = yield from self.infer(
                model,
                {image_input.name: tensor},
                version=version,
                outputs=(),
                request_id=request_id,
                parameters=parameters,
            )
            metadata = yield from self._as_answered(metadata, version, result.model_version)
            classifications += classify_result(result, metadata, rows, top_k)
        return classifications

    def live(self) -> Steps[bool]:
        """See `Client.live`."""
        response = yield from unary("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse)
        return response.live

    def ready(self, model: str, version: str) -> Steps[bool]:
        """See `Client.ready`."""
        if not model:
            if version:
                raise InputError(f"version {version!r} is of no model; name the model too")
            server = yield from unary("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)
            return server.ready
        request = pb.ModelReadyRequest(name=model, version=version)
        return (yield from unary("ModelReady", request, pb.ModelReadyResponse)).ready

    def server_metadata(self) -> Steps[ServerMetadata]:
        """See `Client.metadata`."""
        response = yield from unary("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
        return ServerMetadata(name=response.name, version=response.version, extensions=tuple(response.extensions))

    def metadata(self, model: str, version: str) -> Steps[ModelMetadata | ServerMetadata]:
        """See `Client.metadata`."""
        if model:
            return (yield from self.model_metadata(model, version))
        if version:
            raise InputError(f"version {version!r} is of no model; name the model too")
        return (yield from self.server_metadata())

    def model_metadata(self, model: str, version: str) -> Steps[ModelMetadata]:
        """A model's metadata, asked for now."""
        request = pb.ModelMetadataRequest(name=model, version=version)
        metadata = ModelMetadata.from_message((yield from unary("ModelMetadata", request, pb.ModelMetadataResponse)))
        self._metadata[model, version] = metadata
        return metadata

    def status(self) -> Steps[list[ModelStatus]]:
        """See `Client.status`."""
        rows: list[ModelStatus] = []
        for entry in (yield from self.repository_index()):
            metadata: ModelMetadata | None = None
            if entry.state == "READY":
                try:
                    metadata = yield from self.model_metadata(entry.model, entry.version)
                except (NotFound, Unavailable):
                    # Unloaded between the two rpcs: the row stands as the index had it.
                    metadata = None
            rows.append(replace(entry, metadata=metadata))
        return rows

    def repository_index(self) -> Steps[list[ModelStatus]]:
        """See `Client.repository_index`."""
        index = yield from unary("RepositoryIndex", pb.RepositoryIndexRequest(), pb.RepositoryIndexResponse)
        return [
            ModelStatus(model=each.name, version=each.version, state=each.state, reason=each.reason, metadata=None)
            for each in index.models
        ]

    def load_model(self, model: str, config: Config | None, files: Files | None) -> Steps[None]:
        """See `Client.load_model`."""
        yield from unary("RepositoryModelLoad", load_request(model, config, files), pb.RepositoryModelLoadResponse)
        self._forget(model)

    def unload_model(self, model: str) -> Steps[None]:
        """See `Client.unload_model`."""
        request = pb.RepositoryModelUnloadRequest(model_name=model)
        yield from unary("RepositoryModelUnload", request, pb.RepositoryModelUnloadResponse)
        self._forget(model)

    def statistics(self, model: str, version: str) -> Steps[list[ModelStatistics]]:
        """See `Client.statistics`."""
        request = pb.ModelStatisticsRequest(name=model, version=version)
        response = yield from unary("ModelStatistics", request, pb.ModelStatisticsResponse)
        return [ModelStatistics.from_message(message) for message in response.model_stats]

    def _known(self, model: str, version: str) -> Steps[ModelMetadata]:
        if not model:
            raise InputError("the model's name is empty")
        known = self._metadata.get((model, version))
        return known if known is not None else (yield from self.model_metadata(model, version))

    def _forget(self, model: str) -> None:
        for key in [key for key in self._metadata if key[0] == model]:
            del self._metadata[key]

    def _as_answered(self, metadata: ModelMetadata, asked: str, answered: str) -> Steps[ModelMetadata]:
        """The metadata of the version that answered: a newer one may have taken over since it was read."""
        newest = max(filter(is_number, metadata.versions), key=int, default="")
        if asked or not newest or answered == newest:
            return metadata
        return (yield from self.model_metadata(metadata.name, ""))

    def _configured_limit(self, model: str, version: str) -> Steps[int | None]:
        """The largest batch where only the configuration has it, as on Triton; None is unknown."""
        try:
            request = pb.ModelConfigRequest(name=model, version=version)
            response = yield from unary("ModelConfig", request, pb.ModelConfigResponse)
        except Unimplemented:
            return None
        return response.config.max_batch_size or None


def unary(method: str, request: Message, response_class: type[Response]) -> Steps[Response]:
    """One rpc, with the response's class checked."""
    response = yield Rpc(method, request)
    if not isinstance(response, response_class):
        raise ResponseError(f"{method} answered with {type(response).__name__}, expected {response_class.__name__}")
    return response
