"""A small server that keeps every rule of the conformance kit, for tests that break one of them in a subclass.

It serves the models that the kit asks for out of numpy, over plain grpcio, in the test's process. Each method is one
thing that a server may get wrong.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from quadriga_client.conformance import ZOO_MODELS, Report, Settings, run, select
from quadriga_client.conformance.tensors import Spec, Tensor
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import DATATYPES, ITEM_SIZES, contents_to_raw, split_elements, to_raw
from quadriga_proto.pool import POOL

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
VERSION = "3"
CLASSES = 5
MAX_BATCH_SIZE = 8
#: The zoo has no echo of BF16; the stand-in has.
MODELS = {**ZOO_MODELS, "echo": (*ZOO_MODELS["echo"], "conformance_echo_bf16")}
SETTINGS = {"trace_level": ["OFF"], "trace_rate": ["1000"], "trace_count": ["-1"]}


class Refused(Exception):
    """The call ends with this status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


@dataclass
class Counts:
    requests: int = 0
    last_ms: int = 0
    by_rows: dict[int, int] = field(default_factory=dict)


@dataclass
class Model:
    name: str
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    compute: Callable[[list[Tensor]], list[Tensor]]
    counts: Counts = field(default_factory=Counts)
    loaded: bool = True


def echo(tensors: list[Tensor]) -> list[Tensor]:
    return tensors


def add(tensors: list[Tensor]) -> list[Tensor]:
    first, second = (tensor.array() for tensor in tensors)
    return [Tensor("FP32", tensors[0].shape, to_raw(array)) for array in (first + second, first - second)]


def classify(tensors: list[Tensor]) -> list[Tensor]:
    images = tensors[0].array()
    means = images.reshape(len(images), -1).mean(axis=1)
    scores = np.array([[math.sin(mean * 7 + place) for place in range(CLASSES)] for mean in means], np.float32)
    return [Tensor("FP32", scores.shape, to_raw(scores))]


def make_models() -> dict[str, Model]:
    def spec(name: str, datatype: str, *shape: int) -> Spec:
        return Spec(name, datatype, (-1, *shape))

    pair = [spec(name, "FP32", -1) for name in ("a", "b", "a_again", "b_again")]
    four = [spec(name, "FP32", 4) for name in ("a", "b", "sum", "difference")]
    models = [
        Model("conformance_pair", tuple(pair[:2]), tuple(pair[2:]), echo),
        Model("conformance_add", tuple(four[:2]), tuple(four[2:]), add),
        Model("conformance_image", (spec("image", "FP32", 8, 8, 3),), (spec("scores", "FP32", CLASSES),), classify),
    ]
    for datatype in DATATYPES:
        tensors = (spec("x", datatype, -1),), (spec("y", datatype, -1),)
        models.append(Model(f"conformance_echo_{datatype.lower()}", *tensors, echo))
    return {model.name: model for model in models}


class StandIn(grpc.GenericRpcHandler):
    """The server; it stops at the end of a `with` block."""

    #: Advertised in ServerMetadata.
    extensions: tuple[str, ...] = (
        "classification", "logging", "model_configuration", "model_repository", "parameters", "statistics",
        "system_shared_memory", "trace",
    )  # fmt: skip

    def __init__(self) -> None:
        self.models = make_models()
        self.regions: dict[str, tuple[str, int, SharedMemory]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(24)
        self._server = grpc.server(self._threads, options=[("grpc.max_receive_message_length", -1)])
        self._server.add_generic_rpc_handlers((self,))
        self._health = health.HealthServicer()
        self.set_health(self._health)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=POOL)
        self.url = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def set_health(self, servicer: health.HealthServicer) -> None:
        for name in ("", *self.models):
            servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    def __enter__(self) -> "StandIn":
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._threads.shutdown()

    def stop(self) -> None:
        self._server.stop(None)

    def service(self, handler_call_details: Any) -> Any:
        """See `grpc.GenericRpcHandler`."""
        service, _, name = handler_call_details.method.lstrip("/").partition("/")
        answer = getattr(self, name, None)
        if service != SERVICE.full_name or name not in SERVICE.methods_by_name or answer is None:
            return None
        request_class = getattr(pb, SERVICE.methods_by_name[name].input_type.name)
        kind = grpc.unary_unary_rpc_method_handler
        if name == "ModelStreamInfer":
            kind = grpc.stream_stream_rpc_method_handler
        return kind(
            lambda request, context: self._answer(answer, request, context),
            request_deserializer=request_class.FromString if name == "ModelStreamInfer" else None,
            response_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
        )

    def _answer(self, answer: Callable[[Any], Any], request: Any, context: grpc.ServicerContext) -> Any:
        try:
            if not isinstance(request, bytes):
                return answer(request)
            request_class = getattr(pb, SERVICE.methods_by_name[answer.__name__].input_type.name)
            try:
                message = request_class.FromString(request)
            except Exception as error:
                raise invalid(f"no {request_class.__name__}: {error}") from error
            return answer(message)
        except Refused as refused:
            context.abort(refused.code, str(refused))

    def ServerLive(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=True)

    def ServerMetadata(self, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="stand-in", version="1.2", extensions=self.extensions)

    def ModelReady(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        try:
            return pb.ModelReadyResponse(ready=self.find(request.name, request.version).loaded)
        except Refused:
            return pb.ModelReadyResponse(ready=False)

    def find(self, name: str, version: str) -> Model:
        model = self.models.get(name)
        if model is None or not model.loaded or version not in ("", VERSION):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no model {name!r} of version {version!r}")
        return model

    def shape_shown(self, spec: Spec) -> tuple[int, ...]:
        return spec.shape

    def ModelMetadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        model = self.find(request.name, request.version)
        response = pb.ModelMetadataResponse(name=model.name, versions=[VERSION], platform="numpy_none")
        for specs, shown in ((model.inputs, response.inputs), (model.outputs, response.outputs)):
            for spec in specs:
                shown.add(name=spec.name, datatype=spec.datatype, shape=self.shape_shown(spec))
        return response

    def ModelInfer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        model = self.find(request.model_name, request.model_version)
        self.check_parameters(request)
        inputs = self.read_inputs(model, request)
        wanted = self.wanted(model, request)
        outputs = dict(zip((spec.name for spec in model.outputs), model.compute(inputs), strict=True))
        response = self.respond(model, request, {name: outputs[name] for name in wanted})
        self.count(model, inputs[0].shape[0])
        return response

    def check_parameters(self, request: pb.ModelInferRequest) -> None:
        kinds = {
            "timeout": ("int64_param", "uint64_param"),
            "priority": ("int64_param", "uint64_param"),
            "sequence_id": ("int64_param", "string_param"),
        }
        for key, parameter in request.parameters.items():
            kind = parameter.WhichOneof("parameter_choice")
            if key.startswith("triton_") and key != "triton_enable_empty_final_response":
                raise invalid(f"{key} is reserved")
            if key in kinds and kind not in kinds[key]:
                raise invalid(f"{key} is a {kind}")
            if key == "priority" and getattr(parameter, str(kind)) < 0:
                raise invalid(f"{key} is below 0")

    def order(self, model: Model, request: pb.ModelInferRequest) -> list[str]:
        """Names of inputs, in the order of the raw contents."""
        return [tensor.name for tensor in request.inputs if "shared_memory_region" not in tensor.parameters]

    def read_inputs(self, model: Model, request: pb.ModelInferRequest) -> list[Tensor]:
        names = [tensor.name for tensor in request.inputs]
        if sorted(names) != sorted(spec.name for spec in model.inputs):
            raise invalid(f"the inputs are {names}")
        order = self.order(model, request)
        raw = request.raw_input_contents
        if raw and len(raw) != len(order):
            raise invalid(f"{len(raw)} raw contents for {len(order)} inputs")
        data = dict(zip(order, raw, strict=False))
        by_name = {tensor.name: tensor for tensor in request.inputs}
        return [self.read_input(spec, by_name[spec.name], data.get(spec.name)) for spec in model.inputs]

    def read_input(self, spec: Spec, sent: Any, raw: bytes | None) -> Tensor:
        shape = tuple(sent.shape)
        fits = len(shape) == len(spec.shape) and all(
            want in (-1, size) for want, size in zip(spec.shape, shape, strict=True)
        )
        if not fits or min(shape) < 0 or shape[0] > MAX_BATCH_SIZE or sent.datatype != spec.datatype:
            raise invalid(f"{sent.name} is {sent.datatype}{list(shape)}")
        if "shared_memory_region" in sent.parameters:
            return Tensor(spec.datatype, shape, bytes(self.place(sent.parameters)))
        if raw is None:
            return Tensor(spec.datatype, shape, self.typed(spec, shape, sent.contents))
        if sent.HasField("contents"):
            raise invalid("contents beside raw contents")
        return Tensor(spec.datatype, shape, self.sized(spec, shape, raw))

    def typed(self, spec: Spec, shape: tuple[int, ...], contents: pb.InferTensorContents) -> bytes:
        try:
            return contents_to_raw(spec.datatype, shape, contents)
        except ValueError as error:
            raise invalid(str(error)) from None

    def sized(self, spec: Spec, shape: tuple[int, ...], raw: bytes) -> bytes:
        try:
            if spec.datatype == "BYTES":
                split_elements(raw, math.prod(shape))
            elif len(raw) != math.prod(shape) * ITEM_SIZES[spec.datatype]:
                raise ValueError(f"{len(raw)} bytes for {spec.datatype}{list(shape)}")
        except ValueError as error:
            raise invalid(str(error)) from None
        return raw

    def wanted(self, model: Model, request: pb.ModelInferRequest) -> list[str]:
        known = [spec.name for spec in model.outputs]
        asked = [output.name for output in request.outputs]
        if set(asked) - set(known):
            raise invalid(f"the outputs are {asked}")
        return [name for name in known if name in asked] if asked else known

    def respond(
        self, model: Model, request: pb.ModelInferRequest, outputs: Mapping[str, Tensor]
    ) -> pb.ModelInferResponse:
        response = pb.ModelInferResponse(model_name=model.name, model_version=VERSION, id=request.id)
        asked = {output.name: output.parameters for output in request.outputs}
        for name, tensor in outputs.items():
            parameters: Any = asked.get(name, {})
            shown = self.classified(tensor, parameters["classification"]) if "classification" in parameters else tensor
            output = response.outputs.add(name=name, datatype=shown.datatype, shape=shown.shape)
            self.write(response, output, shown, parameters)
        return response

    def write(self, response: pb.ModelInferResponse, output: Any, tensor: Tensor, parameters: Any) -> None:
        if "shared_memory_region" in parameters:
            self.place(parameters)[: len(tensor.raw)] = tensor.raw
            response.raw_output_contents.append(b"")
        else:
            response.raw_output_contents.append(tensor.raw)

    def classified(self, tensor: Tensor, parameter: pb.InferParameter) -> Tensor:
        if parameter.WhichOneof("parameter_choice") != "int64_param" or parameter.int64_param < 1:
            raise invalid("classification is no number from 1")
        k = min(parameter.int64_param, tensor.shape[-1])
        rows = [self.best(row, k) for row in tensor.array()]
        elements = np.array([[f"{row[place]:.6f}:{place}" for place in places] for row, places in rows], dtype=object)
        return Tensor("BYTES", elements.shape, to_raw(elements))

    def best(self, row: Any, k: int) -> tuple[Any, list[int]]:
        return row, np.argsort(-row)[:k].tolist()

    def ModelStreamInfer(self, requests: Iterator[pb.ModelInferRequest]) -> Iterable[pb.ModelStreamInferResponse]:
        return map(self.stream_answer, requests)

    def stream_answer(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
        try:
            answer = pb.ModelStreamInferResponse(infer_response=self.ModelInfer(request))
        except Refused as refused:
            answer = pb.ModelStreamInferResponse(error_message=str(refused))
            answer.infer_response.id = request.id
        answer.infer_response.parameters["triton_final_response"].bool_param = True
        return answer

    def ModelConfig(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        model = self.find(request.name, request.version)
        response = pb.ModelConfigResponse()
        config = response.config
        config.name, config.max_batch_size = model.name, self.max_batch_size()
        config.version_policy.latest.num_versions = 1
        config.instance_group.add(count=1)
        for specs, shown in ((model.inputs, config.input), (model.outputs, config.output)):
            for spec in specs:
                tensor: Any = shown.add(name=spec.name, dims=spec.shape[1:])
                tensor.data_type = f"TYPE_{'STRING' if spec.datatype == 'BYTES' else spec.datatype}"
        return response

    def max_batch_size(self) -> int:
        return MAX_BATCH_SIZE

    def count(self, model: Model, rows: int) -> None:
        with self._lock:
            model.counts.requests += 1
            model.counts.last_ms = int(time.time() * 1000)
            model.counts.by_rows[rows] = model.counts.by_rows.get(rows, 0) + 1

    def ModelStatistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        if request.name and request.name not in self.models:
            raise invalid(f"no model {request.name!r}")
        response = pb.ModelStatisticsResponse()
        for model in self.models.values():
            if request.name in ("", model.name):
                self.add_statistics(response.model_stats.add(name=model.name, version=VERSION), model.counts)
        return response

    def add_statistics(self, shown: pb.ModelStatistics, counts: Counts) -> None:
        shown.last_inference = counts.last_ms
        shown.execution_count = counts.requests
        shown.inference_count = sum(rows * times for rows, times in counts.by_rows.items())
        for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
            duration = getattr(shown.inference_stats, name)
            duration.count, duration.ns = counts.requests, counts.requests * (10 if name == "success" else 2)
        for rows, times in counts.by_rows.items():
            shown.batch_stats.add(batch_size=rows).compute_infer.count = times

    def RepositoryIndex(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        response = pb.RepositoryIndexResponse()
        for model in self.models.values():
            if model.loaded or not request.ready:
                state = "READY" if model.loaded else "UNAVAILABLE"
                response.models.add(name=model.name, version=VERSION, state=state)
        return response

    def RepositoryModelLoad(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        if request.model_name not in self.models:
            raise invalid(f"no model {request.model_name!r}")
        self.models[request.model_name].loaded = True
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(self, request: pb.RepositoryModelUnloadRequest) -> pb.RepositoryModelUnloadResponse:
        if request.model_name in self.models:
            self.models[request.model_name].loaded = False
        return pb.RepositoryModelUnloadResponse()

    def SystemSharedMemoryRegister(self, request: pb.SystemSharedMemoryRegisterRequest) -> Any:
        if request.name in self.regions:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"{request.name} is taken")
        try:
            memory = SharedMemory(request.key.lstrip("/"))
        except OSError as error:
            raise invalid(f"{request.key}: {error}") from None
        if request.byte_size > memory.size:
            memory.close()
            raise invalid(f"{request.byte_size} bytes of a segment of {memory.size}")
        self.regions[request.name] = (request.key, request.byte_size, memory)
        return pb.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, request: pb.SystemSharedMemoryUnregisterRequest) -> Any:
        if region := self.regions.pop(request.name, None):
            region[2].close()
        return pb.SystemSharedMemoryUnregisterResponse()

    def SystemSharedMemoryStatus(self, request: pb.SystemSharedMemoryStatusRequest) -> Any:
        response = pb.SystemSharedMemoryStatusResponse()
        for name, (key, size, _) in self.regions.items():
            response.regions[name].name, response.regions[name].key = name, key
            response.regions[name].byte_size = size
        return response

    def offset(self, parameters: Any) -> int:
        return int(parameters["shared_memory_offset"].int64_param) if "shared_memory_offset" in parameters else 0

    def place(self, parameters: Any) -> Any:
        name = parameters["shared_memory_region"].string_param
        if name not in self.regions:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no region {name}")
        _, size, memory = self.regions[name]
        start = self.offset(parameters)
        end = start + parameters["shared_memory_byte_size"].int64_param
        if end > size:
            raise invalid(f"{end} is past the end of {name}")
        assert memory.buf is not None
        return memory.buf[start:end]

    def LogSettings(self, request: pb.LogSettingsRequest) -> pb.LogSettingsResponse:
        response = pb.LogSettingsResponse()
        for key in ("log_info", "log_warning", "log_error"):
            response.settings[key].bool_param = True
        response.settings["log_verbose_level"].uint32_param = 0
        response.settings["log_format"].string_param = "default"
        if unknown := set(request.settings) - set(response.settings):
            raise invalid(f"no settings {unknown}")
        return response

    def TraceSetting(self, request: pb.TraceSettingRequest) -> pb.TraceSettingResponse:
        if unknown := set(request.settings) - set(SETTINGS):
            raise invalid(f"no settings {unknown}")
        response = pb.TraceSettingResponse()
        for key, values in SETTINGS.items():
            response.settings[key].value.extend(values)
        return response


def report_of(server: StandIn, *ids: str, control: bool = True) -> Report:
    """What the kit finds of a server; all checks, or those of the ids."""
    settings = Settings(url=server.url, models=MODELS, timeout=20.0, allow_model_control=control)
    return run(settings, select(ids=ids))
