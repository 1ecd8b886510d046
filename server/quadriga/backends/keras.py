"""Keras 3 models (`.keras`), served as one compiled function. Runs in workers.

Calling a Keras model eagerly costs milliseconds of dispatch, and `predict` more: neither is ever done here.

Parameters:
    keras_backend: tensorflow (default), torch or jax: what Keras runs on.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from quadriga.backends import tensorflow_runtime
from quadriga.backends.base import Backend, ModelLoadError, ModelSource
from quadriga.backends.contract import expect_file, first_line, settle
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.codec import Array, datatype_of

KERAS_BACKENDS: Final = ("tensorflow", "torch", "jax")
Function = Callable[[Sequence[Array]], Sequence[Array]]


class KerasBackend(Backend):
    """A model loaded in safe mode and compiled by the framework that Keras runs on."""

    def prepare(self, source: ModelSource) -> None:
        """See `Backend.prepare`; `KERAS_BACKEND` counts only before Keras is imported."""
        runs_on = source.parameters.get("keras_backend", KERAS_BACKENDS[0])
        if runs_on not in KERAS_BACKENDS:
            raise ModelLoadError(f"parameter keras_backend is {runs_on!r}; expected one of {', '.join(KERAS_BACKENDS)}")
        os.environ["KERAS_BACKEND"] = self._runs_on = runs_on
        tensorflow_runtime.prepare(source)

    def cuda_devices(self) -> int:
        """See `Backend.cuda_devices`."""
        if self._runs_on == "torch":
            import torch

            return int(torch.cuda.device_count())
        if self._runs_on == "jax":
            import jax

            return sum(device.platform == "gpu" for device in jax.devices())
        return tensorflow_runtime.cuda_devices()

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        expect_file(source, "a Keras 3 model (a zip archive)", zipped=True)
        if self._runs_on == "tensorflow":
            tensorflow_runtime.import_tensorflow(source)
        elif self._runs_on == "torch":
            _limit_torch(source)
        model = _load_model(source)
        inputs = [_tensor(tensor) for tensor in model.inputs]
        outputs = [_tensor(tensor) for tensor in model.outputs]
        for tensor, name in zip(outputs, _output_names(model), strict=True):
            outputs[outputs.index(tensor)] = TensorSpec(name=name, datatype=tensor.datatype, shape=tensor.shape)
        self._function = COMPILERS[self._runs_on](model, source)
        return settle(source, inputs, outputs)

    def infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See `Backend.infer`."""
        return self._function(inputs)


def _load_model(source: ModelSource) -> Any:  # noqa: ANN401 - a keras.Model
    try:
        import keras
    except ImportError as error:
        raise ModelLoadError(f"this format needs Keras: {tensorflow_runtime.EXTRA}") from error
    try:
        # safe_mode refuses Lambda layers, which carry Python code.
        model = keras.saving.load_model(source.path, compile=False, safe_mode=True)
    except Exception as error:
        raise ModelLoadError(f"{source.path} cannot be loaded: {_explain(error)}") from error
    if not model.inputs:
        raise ModelLoadError(f"{source.path} was saved before it was built, so its input's shape is not known")
    return model


def _explain(error: Exception) -> str:
    text = str(error)
    if missing := re.search(r"Could not locate (?:class|function) '([^']+)'", text):
        return (
            f"it uses the custom class {missing[1]!r}, which is not there; rebuild the model from Keras' layers, or "
            "export it as a SavedModel or ONNX"
        )
    if "Lambda" in text:
        return "it has a Lambda layer, which carries code and is refused; replace it by a layer of Keras' own"
    return first_line(error)


def _tensor(tensor: Any) -> TensorSpec:  # noqa: ANN401 - a KerasTensor
    shape = tuple(ANY if size is None else size for size in tensor.shape)
    return TensorSpec(name=tensor.name, datatype=_datatype(tensor.dtype), shape=shape)


def _datatype(name: str) -> str:
    if name == "string":
        return "BYTES"
    return "BF16" if name == "bfloat16" else datatype_of(np.dtype(name))


def _output_names(model: Any) -> list[str]:  # noqa: ANN401 - a keras.Model
    """The names of the layers that make the outputs: a tensor's own name would be an internal one."""
    names = list(getattr(model, "output_names", []) or [model.layers[-1].name])
    return names if len(set(names)) == len(model.outputs) else [f"output_{i}" for i in range(len(model.outputs))]


def _call(model: Any, tensors: Sequence[Any]) -> list[Any]:  # noqa: ANN401 - of whichever framework
    outputs = model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _compile_for_tensorflow(model: Any, source: ModelSource) -> Function:  # noqa: ANN401
    import tensorflow as tf

    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs]
    traced = tf.function(lambda *tensors: _call(model, tensors), input_signature=signature, autograph=False)
    function = traced.get_concrete_function()

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        return [output.numpy() for output in function(*map(tf.convert_to_tensor, inputs))]

    return run


def _compile_for_torch(model: Any, source: ModelSource) -> Function:  # noqa: ANN401
    import torch

    # Traced once: Keras' Python dispatch is most of the cost of a small model under torch.
    example = [torch.zeros([1 if size is None else size for size in tensor.shape]) for tensor in model.inputs]
    device = torch.device(source.device)
    with torch.inference_mode():
        traced = torch.jit.trace(
            lambda *tensors: tuple(_call(model, tensors)),
            tuple(tensor.to(device) for tensor in example),
            check_trace=False,
        )

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        with torch.inference_mode():
            return [
                output.cpu().numpy() for output in traced(*(torch.tensor(array, device=device) for array in inputs))
            ]

    return run


def _compile_for_jax(model: Any, source: ModelSource) -> Function:  # noqa: ANN401
    import jax

    function = jax.jit(lambda *tensors: tuple(_call(model, tensors)))

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        return [np.asarray(output) for output in function(*inputs)]

    return run


def _limit_torch(source: ModelSource) -> None:
    try:
        import torch
    except ImportError as error:
        raise ModelLoadError("keras_backend 'torch' needs PyTorch: pip install 'quadriga[torch]'") from error
    torch.set_num_threads(source.threads)
    torch.set_num_interop_threads(1)


COMPILERS: Final[dict[str, Callable[[Any, ModelSource], Function]]] = {
    "tensorflow": _compile_for_tensorflow,
    "torch": _compile_for_torch,
    "jax": _compile_for_jax,
}
