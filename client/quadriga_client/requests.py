"""From the arguments of `infer` to the request that the server expects. Pure; runs in the user's process."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from quadriga_client.errors import InputError
from quadriga_client.results import ModelMetadata
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import Array, CodecError, datatype_of, numpy_dtype, to_raw
from quadriga_proto.conventions import TIMINGS_PARAMETER

#: The model's only input, or several by name. Whatever numpy makes an array of will do.
Inputs: TypeAlias = "npt.ArrayLike | Mapping[str, npt.ArrayLike]"
Parameters: TypeAlias = "Mapping[str, bool | int | float | str]"

_INT64: Final = np.iinfo(np.int64)
_UINT64_MAX: Final = 2**64 - 1


def infer_request(
    model: str,
    metadata: ModelMetadata,
    inputs: "Inputs",
    *,
    version: str = "",
    outputs: Sequence[str] = (),
    request_id: str = "",
    parameters: "Parameters | None" = None,
    timings: bool = True,
) -> pb.ModelInferRequest:
    """The request, with raw contents.

    An array whose dtype is not the model's is converted where numpy calls that a cast of the same kind (float64 to
    float32, uint8 to float32) and no integer leaves its range. Names that the model does not have are sent as they
    are: the server's answer says which it has. `timings` asks for the server's own, with a parameter of Quadriga's.

    Raises:
        InputError: The inputs or parameters are none that a request can carry.
    """
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=request_id)
    datatypes = {tensor.name: tensor.datatype for tensor in metadata.inputs}
    for name, value in by_name(metadata, inputs).items():
        array = as_array(name, value)
        try:
            array = converted(name, array, datatypes.get(name) or datatype_of(array.dtype))
            request.inputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
            request.raw_input_contents.append(to_raw(array))
        except CodecError as error:
            raise InputError(f"input {name!r}: {error}") from error
    if isinstance(outputs, str):
        raise InputError(f"outputs is a sequence of names, got the text {outputs!r}; write ({outputs!r},)")
    for output in outputs:
        request.outputs.add(name=output)
    own_parameters: Parameters = {TIMINGS_PARAMETER: True} if timings else {}
    for key, parameter in {**own_parameters, **(parameters or {})}.items():
        request.parameters[key].CopyFrom(infer_parameter(key, parameter))
    return request


def by_name(metadata: ModelMetadata, inputs: "Inputs") -> Mapping[str, npt.ArrayLike]:
    """The inputs by name; an array alone is the model's only input.

    Raises:
        InputError: An array alone, and the model has not just one input; or nothing at all.
    """
    if isinstance(inputs, Mapping):
        if not inputs:
            raise InputError(f"model {metadata.name!r} got no inputs")
        return inputs
    if len(metadata.inputs) != 1:
        names = ", ".join(tensor.name for tensor in metadata.inputs) or "none that its metadata describes"
        raise InputError(f"model {metadata.name!r} has not one input but {names}; give a dict of arrays by name")
    return {metadata.inputs[0].name: inputs}


def as_array(name: str, value: npt.ArrayLike) -> Array:
    """What numpy makes of a value.

    Raises:
        InputError: No array can be made of it.
    """
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"input {name!r} cannot be made an array: {error}") from error


def converted(name: str, array: Array, datatype: str) -> Array:
    """The array as `datatype`.

    Raises:
        InputError: That is no cast of the same kind, or an integer would leave its range.
        CodecError: The array's dtype is not of the protocol, or this machine cannot make arrays of `datatype`.
    """
    if datatype_of(array.dtype) == datatype:
        return array
    target = numpy_dtype(datatype)
    if not np.can_cast(array.dtype, target, casting="same_kind"):
        raise InputError(
            f"input {name!r} is {array.dtype}, and the model expects {datatype}; convert it with"
            f" .astype({str(target)!r}) if that is what you mean"
        )
    if target.kind in "iu" and array.size:
        limits = np.iinfo(target)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise InputError(
                f"input {name!r} has values from {low} to {high}, and the model expects {datatype},"
                f" which holds {limits.min} to {limits.max}"
            )
    return array.astype(target)


def infer_parameter(key: str, value: bool | int | float | str) -> pb.InferParameter:
    """A request's parameter.

    Raises:
        InputError: The value is of a type that parameters cannot have, or an integer beyond 64 bits.
    """
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        if _INT64.min <= value <= _INT64.max:
            return pb.InferParameter(int64_param=value)
        if 0 <= value <= _UINT64_MAX:
            return pb.InferParameter(uint64_param=value)
        raise InputError(f"parameter {key!r} is an integer of 64 bits, got {value}")
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    if isinstance(value, str):
        return pb.InferParameter(string_param=value)
    raise InputError(f"parameter {key!r} is a bool, int, float or str, got {type(value).__name__}")
