"""The same inputs for all contestants, and each one's own requests of them. Reads a file where one is given.

What is timed is what was agreed upon: a contestant is asked for its answers, and later timed, with the same bytes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quadriga_client.compare.comparison import SharedInputs
from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.errors import CompareError
from quadriga_client.load.payload import RANDOM, Shape, inputs_for, inputs_of_file
from quadriga_client.requests import converted, infer_request
from quadriga_client.results import ModelMetadata, TensorMetadata
from quadriga_proto.codec import Array, CodecError, datatype_of, to_raw

#: Random rows that the contestants have to agree upon, at least.
LEAST_ROWS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What all are sent.

    Attributes:
        requests: Arrays by the names of the first contestant, in its order; one by request.
        rows: Of each request.
        content: Where the values came from.
    """

    requests: tuple[Mapping[str, Array], ...]
    rows: int
    content: str

    @property
    def described(self) -> SharedInputs:
        """For the report."""
        digest = hashlib.sha256()
        for request in self.requests:
            for array in request.values():
                digest.update(to_raw(array))
        return SharedInputs(
            content=self.content,
            requests=len(self.requests),
            rows=self.rows,
            tensors=tuple(map(_described, self.requests[0].values())),
            digest=digest.hexdigest(),
        )


def random_inputs(metadata: ModelMetadata, *, rows: int, shapes: Mapping[str, Shape], seed: int) -> Inputs:
    """Random numbers for the first contestant: requests of `rows` rows, and of these as many as make `LEAST_ROWS`.

    A model that leaves no first dimension open gets requests of one row.

    Raises:
        LoadError: Its metadata leaves something open that `shapes` does not say, or `rows` is not possible.
    """
    _check_rows(metadata, rows)
    count = -(-LEAST_ROWS // rows)
    requests = tuple(inputs_for(metadata, rows=rows, shapes=shapes, seed=seed + index) for index in range(count))
    return Inputs(requests=requests, rows=rows, content=f"{RANDOM}, seed {seed}")


def file_inputs(metadata: ModelMetadata, file: Path, *, rows: int) -> Inputs:
    """A file's arrays for the first contestant, `rows` rows in a request.

    Raises:
        LoadError: The file cannot be read.
        InputError: Its arrays are of another datatype, and converting them would lose something.
        CompareError: Its arrays are not the model's inputs, or cannot be divided so.
    """
    arrays = inputs_of_file(metadata, file)
    names = [tensor.name for tensor in metadata.inputs] or list(arrays)
    if set(names) != set(arrays):
        raise CompareError(f"{file} holds {', '.join(arrays)}; model {metadata.name!r} has {', '.join(names)}")
    datatypes = {tensor.name: tensor.datatype for tensor in metadata.inputs}
    try:
        arrays = {
            name: converted(name, arrays[name], datatypes.get(name) or datatype_of(arrays[name].dtype))
            for name in names
        }
    except CodecError as error:
        raise CompareError(f"{file}: {error}") from None
    _check_rows(metadata, rows)
    if not _batched(metadata):
        return Inputs(requests=(arrays,), rows=1, content=file.name)
    counts = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    count = counts.pop()
    if counts or not count or count % rows:
        described = ", ".join(f"{name} {_described(array)}" for name, array in arrays.items())
        raise CompareError(f"{file} cannot be divided into requests of {rows} rows each (--rows): it holds {described}")
    requests = tuple(
        {name: array[start : start + rows] for name, array in arrays.items()} for start in range(0, count, rows)
    )
    return Inputs(requests=requests, rows=rows, content=file.name)


def serialized(contestant: Contestant, metadata: ModelMetadata, first: str, inputs: Inputs) -> tuple[bytes, ...]:
    """A contestant's own requests of the shared inputs.

    Args:
        contestant: Whose.
        metadata: Of its model.
        first: The name of the contestant whose inputs they are.
        inputs: All.

    Raises:
        CompareError: They are not what the contestant takes.
    """
    names = input_names(contestant, metadata, first, inputs.requests[0])
    return tuple(
        infer_request(
            contestant.model,
            metadata,
            dict(zip(names, request.values(), strict=True)),
            version=contestant.version,
            timings=False,
        ).SerializeToString()
        for request in inputs.requests
    )


def input_names(
    contestant: Contestant, metadata: ModelMetadata, first: str, arrays: Mapping[str, Array]
) -> Sequence[str]:
    """The contestant's names of the first one's inputs, in the first one's order.

    They are matched by name where both have the same, else by position; a server that describes no inputs gets the
    first one's names.

    Raises:
        CompareError: There are more or fewer, or one is of another datatype or shape; open dimensions take any size.
    """
    if not metadata.inputs:
        return list(arrays)
    by_name = {tensor.name: tensor for tensor in metadata.inputs}
    tensors = [by_name[name] for name in arrays] if set(by_name) == set(arrays) else list(metadata.inputs)
    fits = len(tensors) == len(arrays) and all(map(_fits, tensors, arrays.values()))
    if not fits:
        takes = ", ".join(map(str, metadata.inputs))
        given = ", ".join(f"{name} {_described(array)}" for name, array in arrays.items())
        raise CompareError(
            f"{contestant.name} cannot be sent what {first} is sent: it takes {takes}; the inputs are {given}"
        )
    return [tensor.name for tensor in tensors]


def _fits(tensor: TensorMetadata, array: Array) -> bool:
    return (
        datatype_of(array.dtype) == tensor.datatype
        and array.ndim == len(tensor.shape)
        and all(want in (-1, size) for want, size in zip(tensor.shape, array.shape, strict=True))
    )


def _check_rows(metadata: ModelMetadata, rows: int) -> None:
    if rows > 1 and not _batched(metadata):
        raise CompareError(f"model {metadata.name!r} leaves no first dimension open; leave out --rows {rows}")


def _batched(metadata: ModelMetadata) -> bool:
    """Whether a request may have any number of rows; so it is taken where the server describes no inputs."""
    return all(tensor.shape and tensor.shape[0] < 0 for tensor in metadata.inputs)


def _described(array: Array) -> str:
    return f"{datatype_of(array.dtype)}[{','.join(map(str, array.shape))}]"
