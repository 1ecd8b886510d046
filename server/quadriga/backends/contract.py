"""From what a model file says of its tensors, and what the configuration says, to the model's contract. In workers.

Every backend with a real format ends its `load` here, so that the rules are the same for all.
"""

from collections.abc import Collection, Sequence

import msgspec

from quadriga.backends.base import ModelLoadError, ModelSource
from quadriga.specs import ANY, ModelSpec, TensorSpec


def settle(
    source: ModelSource,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    labels: Sequence[str] = (),
    dispensable: Collection[str] = (),
) -> ModelSpec:
    """The contract.

    The model batches when the configuration says so, or when it says nothing and every first dimension is open.

    Args:
        source: With what the configuration declares.
        inputs: Whole shapes as the file has them, -1 where open.
        outputs: Likewise.
        labels: Class names in the file.
        dispensable: Names of inputs that the model can do without, if the contract says that they are optional.

    Raises:
        ModelLoadError: The configuration contradicts the file.
    """
    if not inputs or not outputs:
        raise ModelLoadError(
            f"{source.path} has {len(inputs)} inputs and {len(outputs)} outputs; expected some of both"
        )
    fixed = next((tensor for tensor in (*inputs, *outputs) if tensor.shape[:1] != (ANY,)), None)
    batches = fixed is None if source.batches is None else source.batches
    if batches and fixed is not None:
        raise ModelLoadError(
            f"max_batch_size is above 0, but {fixed.name!r} of {source.path} has shape {list(fixed.shape)} with no "
            "open first dimension; set max_batch_size to 0 or export the model with a dynamic batch"
        )
    agreed = _agree(source, "input", _rows(inputs, batches), source.inputs)
    for tensor in agreed:
        if tensor.optional and tensor.name not in dispensable:
            raise ModelLoadError(
                f"input {tensor.name!r} is declared optional, but {source.path} cannot run without it; "
                "take `optional` out of its declaration"
            )
    return ModelSpec(
        inputs=agreed,
        outputs=_agree(source, "output", _rows(outputs, batches), source.outputs),
        batches=batches,
        labels=tuple(labels),
    )


def whole(tensors: Sequence[TensorSpec], batches: bool | None) -> list[TensorSpec]:
    """A configuration's tensors with the batch dimension, which a configuration leaves out where the model batches."""
    if not batches:
        return list(tensors)
    return [msgspec.structs.replace(tensor, shape=(ANY, *tensor.shape)) for tensor in tensors]


def describe(tensor: TensorSpec) -> str:
    """Datatype and shape, as messages show them."""
    return f"{tensor.datatype}{list(tensor.shape)}"


def _rows(tensors: Sequence[TensorSpec], batches: bool) -> list[TensorSpec]:
    if not batches:
        return list(tensors)
    return [msgspec.structs.replace(tensor, shape=tensor.shape[1:]) for tensor in tensors]


def _agree(
    source: ModelSource, kind: str, found: Sequence[TensorSpec], declared: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    """The file's tensors as the configuration declares them: open dimensions narrowed, and optional or not."""
    if not declared:
        return tuple(found)
    by_name = {tensor.name: tensor for tensor in declared}
    if set(by_name) != {tensor.name for tensor in found}:
        raise ModelLoadError(
            f"the configuration declares {kind}s {', '.join(sorted(by_name))}, but {source.path} has "
            f"{', '.join(sorted(tensor.name for tensor in found))}"
        )
    return tuple(_narrow(source, kind, tensor, by_name[tensor.name]) for tensor in found)


def _narrow(source: ModelSource, kind: str, found: TensorSpec, declared: TensorSpec) -> TensorSpec:
    fits = len(found.shape) == len(declared.shape) and all(
        ANY in (have, want) or have == want for have, want in zip(found.shape, declared.shape, strict=True)
    )
    if found.datatype != declared.datatype or not fits:
        raise ModelLoadError(
            f"the configuration declares {kind} {found.name!r} as {describe(declared)}, but {source.path} has "
            f"{describe(found)}"
        )
    shape = tuple(want if have == ANY else have for have, want in zip(found.shape, declared.shape, strict=True))
    return msgspec.structs.replace(declared, shape=shape)
