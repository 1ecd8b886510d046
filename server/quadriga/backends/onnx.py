"""ONNX models on ONNX Runtime. Runs in workers.

Parameters:
    provider: "cuda" or "tensorrt": what runs the model on a GPU. Default: cuda. TensorRT builds an engine for every
        shape that it meets, which takes minutes at the first load.
    tensorrt_cache: Folder where TensorRT keeps its engines for the next start. Default: none are kept.

Labels are read from the model's metadata, key "labels", a JSON list.

An initializer that is also an input of the graph is an input here where the configuration declares it; with
`optional = true` a request may leave it out, and the model's own value counts.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from quadriga.backends import cuda, onnx_values
from quadriga.backends.base import CPU, Backend, ModelLoadError, ModelSource, Unpin, first_line
from quadriga.backends.contract import settle
from quadriga.backends.formats import expect_onnx
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.codec import Array

_DATATYPES: Final = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64", "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32",
    "tensor(int64)": "INT64", "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16", "tensor(string)": "BYTES",
}  # fmt: skip
_CUDA: Final = "CUDAExecutionProvider"
_TENSORRT: Final = "TensorrtExecutionProvider"
#: Shapes of inputs on a GPU whose memory is kept.
_MOST_SHAPES: Final = 64
_CPU: Final = "CPUExecutionProvider"


class OnnxBackend(Backend):
    """One InferenceSession with all graph optimisations, run in sequence on `threads` threads."""

    def cuda_devices(self) -> int:
        """See `Backend.cuda_devices`; ONNX Runtime knows whether it was built for GPUs, not whether one is there."""
        if _CUDA not in _import_onnxruntime().get_available_providers():
            return 0
        if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
            return 0
        return len(list(Path("/dev").glob("nvidia[0-9]*")))

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        expect_onnx(source)
        self._runtime = _import_onnxruntime()
        self._index = int(source.device.partition(":")[2] or 0)
        providers = self._providers(source)
        try:
            self._session = self._runtime.InferenceSession(source.path, self._options(source), providers=providers)
        except Exception as error:
            raise ModelLoadError(f"{source.path} is no ONNX model that can run: {first_line(error)}") from error
        self._on_cuda = source.device != CPU
        self._values: dict[tuple[str, tuple[int, ...]], Any] = {}
        if self._on_cuda and _CUDA not in self._session.get_providers():
            raise ModelLoadError(
                f"device {source.device} was asked for, but ONNX Runtime could not use it; check the driver and CUDA"
            )
        declared = {tensor.name for tensor in source.inputs}
        defaults = [value for value in self._session.get_overridable_initializers() if value.name in declared]
        inputs = [_tensor(argument, source) for argument in (*self._session.get_inputs(), *defaults)]
        outputs = [_tensor(argument, source) for argument in self._session.get_outputs()]
        self._inputs = [(tensor.name, tensor.datatype == "BYTES") for tensor in inputs]
        self._output_names = [tensor.name for tensor in outputs]
        self._through_values = any(tensor.datatype == "BF16" for tensor in (*inputs, *outputs))
        return settle(source, inputs, outputs, self._labels(source), {value.name for value in defaults})

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        feed = {
            name: _texts(name, array) if is_bytes else array
            for (name, is_bytes), array in zip(self._inputs, inputs, strict=True)
            if array is not None
        }
        if self._through_values:
            return onnx_values.run(self._runtime, self._session, self._output_names, feed)
        if self._on_cuda:
            return self._infer_on_cuda(feed)
        outputs: list[Array] = self._session.run(self._output_names, feed)
        return outputs

    def _infer_on_cuda(self, feed: dict[str, Array]) -> Sequence[Array]:
        binding = self._session.io_binding()
        for name, array in feed.items():
            if array.dtype.kind == "O":
                binding.bind_cpu_input(name, array)
            else:
                binding.bind_ortvalue_input(name, self._on_gpu(name, array))
        for name in self._output_names:
            binding.bind_output(name, "cuda", self._index)
        self._session.run_with_iobinding(binding)
        outputs: list[Array] = binding.copy_outputs_to_cpu()
        return outputs

    def _on_gpu(self, name: str, array: Array) -> Any:  # noqa: ANN401 - an OrtValue
        """The array's content in memory of the GPU, which is kept for the next array of this shape."""
        key = (name, array.shape)
        value = self._values.get(key)
        if value is not None:
            value.update_inplace(array)
            return value
        if len(self._values) >= _MOST_SHAPES:
            self._values.clear()
        value = self._values[key] = self._runtime.OrtValue.ortvalue_from_numpy(array, "cuda", self._index)
        return value

    def pin(self, address: int, size: int) -> Unpin | None:
        """See `Backend.pin`."""
        runtime = cuda.runtime_library()
        return None if runtime is None else cuda.register(runtime, address, size)

    def _options(self, source: ModelSource) -> Any:  # noqa: ANN401 - onnxruntime has no types
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = source.threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._runtime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Threads that spin between batches made a small CNN on two threads a third faster, for 2.5 times the CPU time:
        # cores that the server and the other models need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        return options

    def _providers(self, source: ModelSource) -> list[Any]:
        wanted = source.parameters.get("provider", "cuda")
        if wanted not in ("cuda", "tensorrt"):
            raise ModelLoadError(f"parameters.provider is {wanted!r}; expected 'cuda' or 'tensorrt'")
        if source.device == CPU:
            if "provider" in source.parameters:
                raise ModelLoadError(f"parameters.provider is {wanted!r}, but the model is to run on the CPU")
            return [_CPU]
        if _CUDA not in self._runtime.get_available_providers():
            raise ModelLoadError(
                f"device {source.device} was asked for, but this ONNX Runtime has no {_CUDA}; "
                "pip install onnxruntime-gpu in its place"
            )
        cuda_provider = (_CUDA, {"device_id": self._index})
        if wanted == "cuda":
            return [cuda_provider, _CPU]
        if _TENSORRT not in self._runtime.get_available_providers():
            raise ModelLoadError("parameters.provider is 'tensorrt', but this ONNX Runtime was built without TensorRT")
        options: dict[str, Any] = {"device_id": self._index}
        if cache := source.parameters.get("tensorrt_cache"):
            options |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": cache}
        return [(_TENSORRT, options), cuda_provider, _CPU]

    def _labels(self, source: ModelSource) -> list[str]:
        text = self._session.get_modelmeta().custom_metadata_map.get("labels", "[]")
        try:
            labels = json.loads(text)
            json.dumps(labels, ensure_ascii=False).encode()  # JSON can write half a surrogate pair, which is no text
        except (ValueError, RecursionError) as error:
            raise ModelLoadError(
                f"the metadata 'labels' of {source.path} is no JSON list: {first_line(error)}"
            ) from error
        if not isinstance(labels, list):
            raise ModelLoadError(f"the metadata 'labels' of {source.path} is {text[:40]!r}; expected a JSON list")
        return [str(label) for label in labels]


def _import_onnxruntime() -> Any:  # noqa: ANN401 - the module
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelLoadError("ONNX models need ONNX Runtime: pip install 'quadriga[onnx]'") from error
    return onnxruntime


def _tensor(argument: Any, source: ModelSource) -> TensorSpec:  # noqa: ANN401 - onnxruntime has no types
    datatype = _DATATYPES.get(argument.type)
    if datatype is None:
        known = ", ".join(_DATATYPES)
        raise ModelLoadError(f"{argument.name!r} of {source.path} is a {argument.type}; expected one of {known}")
    shape = tuple(size if isinstance(size, int) and size >= 0 else ANY for size in argument.shape)
    return TensorSpec(name=argument.name, datatype=datatype, shape=shape)


def _texts(name: str, array: Array) -> Array:
    """BYTES as the `str` that ONNX Runtime takes: of `bytes` it would read what `print` shows."""
    try:
        decoded = [element.decode() if isinstance(element, bytes) else element for element in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise ValueError(f"input {name!r} has an element that is no UTF-8, which is what ONNX strings are") from error
    texts: Array = np.empty(len(decoded), dtype=object)
    texts[:] = decoded
    return texts.reshape(array.shape)
