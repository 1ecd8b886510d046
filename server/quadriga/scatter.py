"""From a batch's outputs in the slab to each request's part of them; pure. Server process."""

from collections.abc import Sequence
from math import prod

from quadriga.errors import InferenceFailed
from quadriga.requests import Batch, Output
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.workers.messages import Region
from quadriga_proto.codec import ITEM_SIZES, CodecError, element_ends


def split_outputs(
    regions: Sequence[Region], view: "memoryview[int]", batch: Batch, spec: ModelSpec
) -> list[list[Output]]:
    """Each request's outputs, in the order of the batch, as views of the slab.

    Args:
        regions: Where each output lies, in the order of the contract.
        view: The segment they lie in.
        batch: The requests and their rows.
        spec: The model's contract.

    Raises:
        InferenceFailed: The backend returned another number of outputs or rows than the contract and the batch say.
    """
    if len(regions) != len(spec.outputs):
        raise InferenceFailed(
            f"the backend returned {len(regions)} outputs where its contract names {len(spec.outputs)}"
        )
    split: list[list[Output]] = [[] for _ in batch.requests]
    for tensor, region in zip(spec.outputs, regions, strict=True):
        raw = view[region.offset : region.offset + region.size]
        if not spec.batches:
            split[0].append(Output(region.shape, raw))
            continue
        ends = row_ends(raw, region.shape, tensor, batch.rows)
        row, start = 0, 0
        for outputs, request in zip(split, batch.requests, strict=True):
            row += request.rows
            end = ends[row - 1]
            outputs.append(Output((request.rows, *region.shape[1:]), raw[start:end]))
            start = end
    return split


def row_ends(raw: "memoryview[int]", shape: tuple[int, ...], tensor: TensorSpec, rows: int) -> Sequence[int]:
    """Where each row of a batched output ends in its raw encoding.

    Raises:
        InferenceFailed: The first dimension is not the batch's rows, or BYTES elements are broken.
    """
    if not shape or shape[0] != rows:
        raise InferenceFailed(
            f"the backend returned output {tensor.name!r} with shape {list(shape)} for a batch of {rows} rows; the "
            "first dimension must be the rows"
        )
    if tensor.datatype in ITEM_SIZES:
        size = len(raw) // rows
        return range(size, len(raw) + 1, size) if size else [0] * rows
    try:
        elements = element_ends(raw, prod(shape))
    except CodecError as error:
        raise InferenceFailed(f"the backend returned a broken BYTES output {tensor.name!r}: {error}") from error
    per_row = prod(shape[1:])
    return [elements[(row + 1) * per_row - 1] if per_row else 0 for row in range(rows)]
