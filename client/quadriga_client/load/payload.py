"""The request that is sent again and again, and the server's first answer to it. Runs in the command's process.

It is made once, of what the server says of the model, and as plain as the protocol allows, so that any server takes it.
"""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from quadriga_client.client import Client
from quadriga_client.errors import ResponseError, error_of
from quadriga_client.load.errors import LoadError
from quadriga_client.load.target import LoadTarget
from quadriga_client.requests import infer_request
from quadriga_client.results import InferResult, ModelMetadata, TensorMetadata
from quadriga_client.rpcs import channel_options, check_url
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import ITEM_SIZES, Array, CodecError, numpy_dtype
from quadriga_proto.conventions import MAX_MESSAGE_BYTES

RANDOM: Final = "random numbers"
#: Random integers are below this, but for UINT8, which is what pixels are: indices stay in the smallest vocabulary.
_SMALL: Final = 10
_PIXELS: Final = 256
_LETTERS: Final = 8

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A request, ready to be sent.

    Attributes:
        inputs: What it was made of, by name; sent as the model's datatypes.
        request: The serialised ModelInferRequest.
        rows: Along the first dimension, where the model leaves that open; 1 where it does not.
        content: Where the values came from: "random numbers", or a file's name.
        described: Name -> "FP32[1,32,32,3]", as they are sent.
    """

    inputs: Mapping[str, Array]
    request: bytes
    rows: int
    content: str
    described: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer to a payload.

    Attributes:
        response: The serialised ModelInferResponse.
        result: What it says.
    """

    response: bytes
    result: InferResult


def payload(
    client: Client,
    model: str,
    version: str = "",
    *,
    rows: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    file: Path | None = None,
    seed: int = 0,
) -> Payload:
    """The request for a model, of random numbers or of a file.

    Args:
        client: Of the server, which is asked for the model's inputs.
        model: Its name.
        version: Empty is the newest that is ready.
        rows: Along the first dimension where that is open; None is one, or as many as the file has.
        shapes: Sizes by input, for what else is open; see `inputs_for`.
        file: An .npy of the only input, or an .npz by input name.
        seed: Of the random numbers.

    Raises:
        LoadError: No request can be made of the model's metadata, the options or the file.
        InputError: The file's arrays are not of the model's datatypes.
        RpcFailed: The server does not tell the model's metadata.
    """
    if rows is not None and rows < 1:
        raise LoadError(f"a request has at least one row, got {rows}")
    metadata = client.metadata(model, version)
    if file is None:
        inputs = inputs_for(metadata, rows=rows, shapes=shapes or {}, seed=seed)
    elif shapes:
        raise LoadError(f"{file} says the shapes of the inputs; leave out --shape")
    else:
        inputs = inputs_of_file(metadata, file)
    request = infer_request(model, metadata, inputs, version=version, timings=False)
    return Payload(
        inputs=inputs,
        request=request.SerializeToString(),
        rows=_rows_of(metadata, inputs, rows),
        content=RANDOM if file is None else file.name,
        described={sent.name: f"{sent.datatype}[{','.join(map(str, sent.shape))}]" for sent in request.inputs},
    )


def inputs_for(
    metadata: ModelMetadata, *, rows: int | None = None, shapes: Mapping[str, Shape] | None = None, seed: int = 0
) -> dict[str, Array]:
    """Random inputs as a model's metadata wants them.

    Floats are uniform from 0 to 1, UINT8 is 0 to 255, other integers are 0 to 9, BYTES are words of eight letters.

    Args:
        metadata: The model's.
        rows: Along each input's first dimension where that is open; None is one.
        shapes: By input, the sizes of its dimensions; where the first is open it may be left out, and is `rows`.
        seed: The same seed gives the same numbers.

    Raises:
        LoadError: A size is not known, or contradicts the metadata; the datatype is none of the protocol; no request
            could carry so much.
    """
    shapes = shapes or {}
    if not metadata.inputs:
        raise LoadError(
            f"the server does not say which inputs model {metadata.name!r} has; give them with --input FILE.npz,"
            " arrays by name"
        )
    names = [tensor.name for tensor in metadata.inputs]
    for name in shapes:
        if name not in names:
            raise LoadError(f"--shape is for input {name!r}; model {metadata.name!r} has {', '.join(names)}")
    generator = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for tensor in metadata.inputs:
        shape = _shape(tensor, rows, shapes.get(tensor.name))
        size = prod(shape) * ITEM_SIZES.get(tensor.datatype, 1)
        if size > MAX_MESSAGE_BYTES:
            raise LoadError(
                f"input {tensor.name!r} of shape {list(shape)} has {size:,} bytes; a message holds"
                f" {MAX_MESSAGE_BYTES:,}"
            )
        inputs[tensor.name] = _random(tensor, shape, generator)
    return inputs


def inputs_of_file(metadata: ModelMetadata, file: Path) -> dict[str, Array]:
    """The arrays of an .npy or .npz file, by input name.

    Raises:
        LoadError: It is neither, cannot be read or holds objects; or an .npy, and the model has not just one input.
    """
    if file.suffix not in {".npy", ".npz"}:
        raise LoadError(f"inputs are read from an .npy or .npz file, got {file}")
    try:
        with file.open("rb") as stream:
            content = np.load(stream, allow_pickle=False)
            if not isinstance(content, np.ndarray):
                content = dict(content)
    except OSError as error:
        raise LoadError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise LoadError(f"{file} holds no arrays that can be read: {error}") from error
    inputs: dict[str, Array]
    if isinstance(content, dict):
        inputs = content
    elif len(metadata.inputs) == 1:
        inputs = {metadata.inputs[0].name: content}
    else:
        names = ", ".join(tensor.name for tensor in metadata.inputs) or "inputs that the server does not name"
        raise LoadError(f"{file} is one array, and model {metadata.name!r} has {names}; give an .npz by name")
    if not inputs:
        raise LoadError(f"{file} holds no arrays")
    return inputs


def probe(target: LoadTarget) -> Answer:
    """Sends the target's first request once, over a connection of grpcio's.

    So it is known, before any load is made, that the server takes it, and what it answers.

    Raises:
        RpcFailed: The server refuses it, or cannot be reached.
        InputError: The URL or a file of TLS cannot be used.
        ResponseError: The answer contradicts the protocol.
    """
    options = channel_options(target.url, MAX_MESSAGE_BYTES, target.tls)
    url = check_url(target.url)
    with (
        grpc.insecure_channel(url, options)
        if target.tls is None
        else grpc.secure_channel(url, target.tls.credentials(), options)
    ) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            target.method, request_serializer=None, response_deserializer=None
        )
        try:
            response = call(target.requests[0], timeout=target.timeout, metadata=target.metadata)
        except grpc.RpcError as error:
            raise error_of(error) from error
    try:
        message = pb.ModelInferResponse.FromString(response)
    except DecodeError as error:
        raise ResponseError(f"the answer is no ModelInferResponse: {error}") from error
    return Answer(response=response, result=InferResult.from_message(message))


def _shape(tensor: TensorMetadata, rows: int | None, given: Shape | None) -> Shape:
    """An input's shape without open dimensions."""
    wanted = tensor.shape
    batched = _is_batched(tensor)
    if given is None:
        shape = ((rows or 1), *wanted[1:]) if batched else wanted
    else:
        shape = ((rows or 1), *given) if batched and len(given) == len(wanted) - 1 else given
        if not _fits(shape, wanted) or (batched and rows is not None and shape[0] != rows):
            asked = f"{tensor} and {rows} rows" if batched and rows is not None else str(tensor)
            raise LoadError(f"--shape {tensor.name}:{','.join(map(str, given))} does not fit {asked}")
    if any(size < 0 for size in shape):
        sizes = ",".join("N" if size < 0 else str(size) for size in (wanted[1:] if batched else wanted))
        raise LoadError(f"input {tensor} leaves sizes open; give them with --shape {tensor.name}:{sizes}")
    return shape


def _fits(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        size == want or (want < 0 and size >= 0) for size, want in zip(shape, wanted, strict=True)
    )


def _is_batched(tensor: TensorMetadata) -> bool:
    return bool(tensor.shape) and tensor.shape[0] < 0


def _rows_of(metadata: ModelMetadata, inputs: Mapping[str, Array], asked: int | None) -> int:
    """The rows of a request.

    Raises:
        LoadError: They are not as many as were asked for.
    """
    batched = {tensor.name for tensor in metadata.inputs if _is_batched(tensor)}
    rows = next((array.shape[0] for name, array in inputs.items() if name in batched and array.ndim), 1)
    if asked is not None and asked != rows:
        why = "as the file has it" if batched else f"model {metadata.name!r} leaves no first dimension open"
        raise LoadError(f"a request has {rows} row{'s'[: rows != 1]} ({why}), and --rows asks for {asked}")
    return rows


def _random(tensor: TensorMetadata, shape: Shape, generator: np.random.Generator) -> Array:
    if tensor.datatype == "BYTES":
        letters = generator.integers(ord("a"), ord("z") + 1, (*shape, _LETTERS), np.uint8)
        words = np.empty(prod(shape), dtype=object)
        words[:] = [word.tobytes() for word in letters.reshape(-1, _LETTERS)]
        return words.reshape(shape)
    try:
        dtype = numpy_dtype(tensor.datatype)
    except CodecError as error:
        raise LoadError(f"input {tensor.name!r}: {error}") from None
    if dtype.kind in "iu":
        return generator.integers(0, _PIXELS if tensor.datatype == "UINT8" else _SMALL, shape, dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape, np.uint8).astype(dtype)
    return generator.random(shape, np.float32).astype(dtype)
