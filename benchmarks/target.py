"""What a load generator calls: an address, a serialised request, and the answer it got when tried once."""

from typing import NamedTuple

import grpc
import numpy as np

from quadriga_client import Client
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import numpy_dtype, to_raw

METHOD = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
CALL_SECONDS = 120.0


class Target(NamedTuple):
    """An address, a serialised request, and the serialised answer to it."""

    address: str
    request: bytes
    answer: bytes


def target(address: str, request: bytes, wait_seconds: float | None = None) -> Target:
    """Tries a request once, so that no generator measures the speed of refusals.

    Args:
        address: Host and port.
        request: A serialised ModelInferRequest.
        wait_seconds: How long to wait for a server that does not listen yet; None: it does.

    Raises:
        grpc.RpcError: The server does not answer it.
    """
    with grpc.insecure_channel(address, options=UNLIMITED) as channel:
        if wait_seconds is not None:
            grpc.channel_ready_future(channel).result(wait_seconds)
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        return Target(address, request, call(request, timeout=CALL_SECONDS))


def request_for(address: str, model: str, rows: int = 1) -> bytes:
    """A serialised request of random rows; open sizes other than the rows are 1."""
    with Client(address) as client:
        metadata = client.metadata(model)
    request = pb.ModelInferRequest(model_name=model)
    for tensor in metadata.inputs:
        shape = [1 if size == -1 else size for size in tensor.shape]
        shape[0] = rows
        array = np.random.default_rng(0).random(shape).astype(numpy_dtype(tensor.datatype))
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        request.raw_input_contents.append(to_raw(array))
    return request.SerializeToString()


def first_output(answer: bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The elements of an answer's first output, which is FP32; raw or not, as servers differ."""
    response = pb.ModelInferResponse.FromString(answer)
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[0], np.float32)
    return np.array(response.outputs[0].contents.fp32_contents, np.float32)
