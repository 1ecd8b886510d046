"""Arrays as PyTorch's tensors and back, for TorchScript and for Keras on PyTorch. Runs in workers."""

from typing import Any

from quadriga_proto.codec import Array, numpy_dtype


def to_tensor(torch: Any, array: Array | None) -> Any:  # noqa: ANN401 - the module, a Tensor
    """A tensor over the array's memory; None for an input that is left out."""
    if array is None:
        return None
    # "V" is bfloat16, of which numpy itself knows nothing but the size.
    if array.dtype.kind == "V":
        return torch.from_numpy(array.view("<i2")).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_array(torch: Any, tensor: Any) -> Array:  # noqa: ANN401 - the module, a Tensor
    """An array over the memory of a tensor that is on the CPU."""
    array: Array
    if tensor.dtype == torch.bfloat16:
        array = tensor.view(torch.int16).numpy().view(numpy_dtype("BF16"))
    else:
        array = tensor.numpy()
    return array
