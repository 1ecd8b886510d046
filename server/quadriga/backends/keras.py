"""Keras 3 models (`.keras`), served as one compiled function. Runs in workers.

Calling a Keras model eagerly costs milliseconds of dispatch, and `predict` more: neither is done here.

Parameters:
    keras_backend: tensorflow (default), torch or jax: what Keras runs on.
"""

import logging
import os
import re
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from itertools import compress
from typing import Any, Final

import numpy as np

from quadriga.backends import tensorflow_runtime
from quadriga.backends.base import Backend, ModelLoadError, ModelSource, first_line
from quadriga.backends.contract import settle
from quadriga.backends.formats import KERAS, expect_zip
from quadriga.backends.memory import keep_freed_memory
from quadriga.backends.tensorflow_runtime import Function
from quadriga.backends.torch_tensors import to_array, to_tensor
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.codec import Array, datatype_of, numpy_dtype

KERAS_BACKENDS: Final = ("tensorflow", "torch", "jax")
#: What a traced function is compared with its model on, in rows: more than the one that it was traced with.
_CHECKED_ROWS: Final = 3

#: A model's call, on tensors of the framework that it runs on.
Call = Callable[..., list[Any]]
#: Makes a function of a call, the tensors of `keras.Model.inputs` that it takes, the model and its source.
Compiler = Callable[[Call, Sequence[Any], Any, ModelSource], Function]

log = logging.getLogger("quadriga.backends.keras")


class KerasBackend(Backend):
    """A model loaded in safe mode and compiled by the framework that Keras runs on."""

    def prepare(self, source: ModelSource) -> None:
        """See `Backend.prepare`; `KERAS_BACKEND` counts only before Keras is imported."""
        runs_on = source.parameters.get("keras_backend", KERAS_BACKENDS[0])
        if runs_on not in KERAS_BACKENDS:
            raise ModelLoadError(f"parameter keras_backend is {runs_on!r}; expected one of {', '.join(KERAS_BACKENDS)}")
        os.environ["KERAS_BACKEND"] = self._runs_on = runs_on
        tensorflow_runtime.prepare(source)
        if runs_on == "jax":
            _prepare_jax(source)
        if runs_on != "tensorflow" and source.device.startswith("cuda:"):
            _show_only(int(source.device.partition(":")[2]))

    def import_framework(self) -> None:
        """See `Backend.import_framework`."""
        if self._runs_on == "jax":
            raise ModelLoadError("JAX warns of forks, and nobody has tried them")
        with tensorflow_runtime.no_banner():
            import_module("keras")

    def cuda_devices(self) -> int:
        """See `Backend.cuda_devices`."""
        if self._runs_on == "torch":
            return int(_import_torch().cuda.device_count())
        if self._runs_on == "jax":
            return sum(device.platform == "gpu" for device in _import_jax().devices())
        return tensorflow_runtime.cuda_devices()

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        expect_zip(source, KERAS)
        if self._runs_on == "tensorflow":
            tensorflow_runtime.import_tensorflow(source)
        elif self._runs_on == "torch":
            torch = _import_torch()
            torch.set_num_threads(source.threads)
            if torch.get_num_interop_threads() != 1:
                torch.set_num_interop_threads(1)
        else:
            _import_jax()
        model = _load_model(source)
        inputs = [_tensor(tensor, tensor.name, optional=_is_optional(tensor)) for tensor in model.inputs]
        outputs = [_tensor(tensor, name) for tensor, name in zip(model.outputs, _output_names(model), strict=True)]
        spec = settle(source, inputs, outputs, dispensable=[tensor.name for tensor in inputs if tensor.optional])
        self._run = _compile(_COMPILERS[self._runs_on], model, spec, source)
        return spec

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        return self._run(inputs)


def _load_model(source: ModelSource) -> Any:  # noqa: ANN401 - a keras.Model
    try:
        with tensorflow_runtime.no_banner():
            import keras
    except ImportError as error:
        raise ModelLoadError(f"this format needs Keras: {tensorflow_runtime.EXTRA}") from error
    try:
        # safe_mode refuses Lambda layers, which carry Python code.
        model = keras.saving.load_model(source.path, compile=False, safe_mode=True)
    except Exception as error:
        raise ModelLoadError(f"{source.path} cannot be loaded: {_explain(error)}") from error
    if not getattr(model, "built", False) or not getattr(model, "inputs", None):
        raise ModelLoadError(
            f"{source.path} does not say what its inputs are; give the model a keras.Input and save it again"
        )
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


def _tensor(tensor: Any, name: str, *, optional: bool = False) -> TensorSpec:  # noqa: ANN401 - a KerasTensor
    shape = tuple(ANY if size is None else size for size in tensor.shape)
    return TensorSpec(name=name, datatype=_datatype(tensor.dtype), shape=shape, optional=optional)


def _is_optional(tensor: Any) -> bool:  # noqa: ANN401 - a KerasTensor
    """Whether it was made by `keras.Input(optional=True)`."""
    history = getattr(tensor, "_keras_history", None)
    return bool(history is not None and getattr(history.operation, "optional", False))


def _datatype(name: str) -> str:
    if name == "string":
        return "BYTES"
    return "BF16" if name == "bfloat16" else datatype_of(np.dtype(name))


def _output_names(model: Any) -> list[str]:  # noqa: ANN401 - a keras.Model
    """A dictionary's keys, else the layers that make the outputs: a tensor's own name would be an internal one."""
    from keras import tree

    outputs = getattr(model, "output", None)
    if isinstance(outputs, dict):
        return [str(name) for name in tree.flatten({name: name for name in outputs})]
    names = list(getattr(model, "output_names", None) or [model.layers[-1].name])
    return names if len(set(names)) == len(model.outputs) else [f"output_{i}" for i in range(len(model.outputs))]


def _caller(model: Any) -> Call:  # noqa: ANN401 - a keras.Model
    """The model as a function of its inputs' tensors, one by one, to a flat list of its outputs'."""
    from keras import Sequential, tree

    # A functional model takes its inputs in the structure in which it was made: a list, a dictionary, one tensor.
    structure = model.inputs[0] if isinstance(model, Sequential) else model.input

    def call(*tensors: Any) -> list[Any]:  # noqa: ANN401 - of whichever framework
        inputs = tree.pack_sequence_as(structure, list(tensors))
        return list(tree.flatten(model(inputs, training=False)))

    return call


def _compile(compiler: Compiler, model: Any, spec: ModelSpec, source: ModelSource) -> Function:  # noqa: ANN401
    """The model compiled; where inputs are optional, once for each choice of those that are there."""
    call = _caller(model)
    if not any(tensor.optional for tensor in spec.inputs):
        return compiler(call, model.inputs, model, source)

    @cache
    def compiled(present: tuple[bool, ...]) -> Function:
        def call_with(*tensors: Any) -> list[Any]:  # noqa: ANN401 - of whichever framework
            given = iter(tensors)
            return call(*[next(given) if here else None for here in present])

        return compiler(call_with, list(compress(model.inputs, present)), model, source)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        there = [array for array in inputs if array is not None]
        return compiled(tuple(array is not None for array in inputs))(there)

    return run


def _compile_for_tensorflow(call: Call, tensors: Sequence[Any], model: Any, source: ModelSource) -> Function:  # noqa: ANN401
    import tensorflow as tf

    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
    return tensorflow_runtime.compile_function(call, signature)


def _compile_for_torch(call: Call, tensors: Sequence[Any], model: Any, source: ModelSource) -> Function:  # noqa: ANN401
    torch = _import_torch()
    device = torch.device("cpu" if source.device == "cpu" else "cuda")
    if source.device == "cpu":
        keep_freed_memory()
    # See `torchscript`, which has the reasons for these.
    torch._C._jit_set_profiling_executor(False)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    for weight in model.parameters():
        weight.requires_grad_(False)

    def runner(function: Callable[..., Sequence[Any]]) -> Function:
        def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
            with torch.inference_mode():
                given = [to_tensor(torch, array).to(device) for array in inputs]
                return [to_array(torch, output.cpu()) for output in function(*given)]

        return run

    # Traced once: Keras' Python dispatch is most of the cost of a small model under torch.
    direct = runner(call)
    if any(None in tensor.shape[1:] for tensor in tensors):
        log.warning("%s is run eagerly and slowly: its inputs have open dimensions besides the batch", source.path)
        return direct
    traced = runner(_trace(torch, call, _example(tensors, 1), device))
    example = _example(tensors, _CHECKED_ROWS)
    if _close(direct(example), traced(example)):
        return traced
    log.warning("%s is run eagerly and slowly: its traced function computes something else", source.path)
    return direct


def _trace(torch: Any, call: Callable[..., list[Any]], example: Sequence[Array], device: Any) -> Any:  # noqa: ANN401
    # Keras asks tensors for their sizes, of which PyTorch warns; the result is compared with the model's own.
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = tuple(to_tensor(torch, array).to(device) for array in example)
        return torch.jit.trace(lambda *values: tuple(call(*values)), tensors, check_trace=False)


def _example(tensors: Sequence[Any], rows: int) -> list[Array]:
    """Random inputs, with `rows` rows where the first dimension is open; no other dimension is."""
    random = np.random.default_rng(0)
    shapes = [[rows if size is None else size for size in tensor.shape] for tensor in tensors]
    dtypes = [numpy_dtype(_datatype(tensor.dtype)) for tensor in tensors]
    return [random.random(shape).astype(dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]


def _close(expected: Sequence[Array], found: Sequence[Array]) -> bool:
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(expected, found, strict=True)
    )


def _compile_for_jax(call: Call, tensors: Sequence[Any], model: Any, source: ModelSource) -> Function:  # noqa: ANN401
    function = _import_jax().jit(call)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        return [np.asarray(output) for output in function(*inputs)]

    return run


def _prepare_jax(source: ModelSource) -> None:
    if source.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    # XLA has no setting for the size of its pool; it takes the number of processors, which it asks this variable for.
    os.environ["NPROC"] = str(source.threads)
    if source.threads == 1:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()


def _show_only(index: int) -> None:
    """Leaves one GPU visible, as number 0."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else []
    os.environ["CUDA_VISIBLE_DEVICES"] = names[index] if index < len(names) else str(index)


def _import_torch() -> Any:  # noqa: ANN401 - the module
    try:
        import torch
    except ImportError as error:
        raise ModelLoadError("keras_backend 'torch' needs PyTorch: pip install 'quadriga[torch]'") from error
    return torch


def _import_jax() -> Any:  # noqa: ANN401 - the module
    try:
        import jax
    except ImportError as error:
        raise ModelLoadError("keras_backend 'jax' needs JAX: pip install jax") from error
    return jax


_COMPILERS: Final[dict[str, Compiler]] = {
    "tensorflow": _compile_for_tensorflow,
    "torch": _compile_for_torch,
    "jax": _compile_for_jax,
}
