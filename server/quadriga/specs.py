"""What a model takes and gives: the contract between a backend, the validation of requests and the metadata answers.

Plain values without behaviour of their own; runs in the server process and in workers, and crosses the border between
them as messages.
"""

from collections.abc import Iterable
from math import prod
from typing import Final

import msgspec

from quadriga_proto.codec import DATATYPES, ITEM_SIZES

#: A dimension of any size.
ANY: Final = -1
#: One row of a tensor that no machine holds.
_MOST_BYTES: Final = 1 << 40


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output.

    Attributes:
        name: As the model calls it.
        datatype: Of the protocol: FP32, INT64, BYTES and so on.
        shape: One row's shape where the model batches (the batch dimension is left out), else the whole shape; -1 is
            any size.
        optional: Of an input, whether a request may leave it out.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded model's contract.

    Attributes:
        inputs: In the order in which `Backend.infer` receives them.
        outputs: In the order in which `Backend.infer` returns them.
        batches: Whether every tensor has a first dimension of rows that requests may share.
        labels: Class names embedded in the model file, in index order; empty where there are none.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batches: bool
    labels: tuple[str, ...] = ()


def row_bytes(tensors: Iterable[TensorSpec]) -> int:
    """Bytes of one row of all the tensors, in raw encoding.

    As far as the contract tells: open dimensions count as 1, BYTES as nothing.
    """
    return sum(ITEM_SIZES.get(tensor.datatype, 0) * prod(max(size, 1) for size in tensor.shape) for tensor in tensors)


def check_contract(spec: ModelSpec) -> None:
    """Makes sure that requests can be checked and answered by a contract that a worker reports.

    Raises:
        ValueError: They cannot; says why.
    """
    for kind, tensors in (("input", spec.inputs), ("output", spec.outputs)):
        if not tensors:
            raise ValueError(f"it has no {kind}s")
        names = set()
        for tensor in tensors:
            if not tensor.name:
                raise ValueError(f"it has an {kind} without a name")
            if tensor.name in names:
                raise ValueError(f"it has the {kind} {tensor.name!r} twice")
            names.add(tensor.name)
            if tensor.datatype not in DATATYPES:
                raise ValueError(f"{kind} {tensor.name!r} is {tensor.datatype!r}, which the protocol does not have")
            if any(size < ANY for size in tensor.shape) or row_bytes([tensor]) > _MOST_BYTES:
                raise ValueError(f"{kind} {tensor.name!r} has shape {list(tensor.shape)[:16]}; no array can have that")
