"""The protocol as a bare client speaks it: one function per need, no retry, no conveniences."""

from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message

from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import datatype_of, from_raw, to_raw

SERVICE = "inference.GRPCInferenceService"
TIMEOUT_SECONDS = 30.0


def rpc(channel: grpc.Channel, name: str, request: Message | bytes, **options: Any) -> Any:
    """Calls one unary rpc; the response class is taken from the service's descriptor."""
    descriptor = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[name]
    response_class = getattr(pb, descriptor.output_type.name)
    data = request if isinstance(request, bytes) else request.SerializeToString()
    response = method(channel, name)(data, timeout=options.pop("timeout", TIMEOUT_SECONDS), **options)
    return response_class.FromString(response)


def method(channel: grpc.Channel, name: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    """One rpc, as bytes on both sides."""
    return channel.unary_unary(f"/{SERVICE}/{name}", bytes, bytes)


def infer_request(model: str, **arrays: np.ndarray[Any, Any]) -> pb.ModelInferRequest:
    """A request with raw contents."""
    request = pb.ModelInferRequest(model_name=model)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
        request.raw_input_contents.append(to_raw(array))
    return request


def model_index(channel: grpc.Channel) -> dict[str, pb.RepositoryIndexResponse.ModelIndex]:
    """What RepositoryIndex says of each model, by name."""
    return {model.name: model for model in rpc(channel, "RepositoryIndex", pb.RepositoryIndexRequest()).models}


def outputs_of(response: pb.ModelInferResponse) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs of a response, by name."""
    return {
        output.name: from_raw(output.datatype, output.shape, raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def error_of(channel: grpc.Channel, name: str, request: Message | bytes, **options: Any) -> tuple[str, str]:
    """Code and message of a call that must fail."""
    try:
        response = rpc(channel, name, request, **options)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error.code().name, error.details() or ""
    raise AssertionError(f"{name} answered OK: {response}")
