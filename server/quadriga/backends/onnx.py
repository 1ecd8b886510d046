"""ONNX models on ONNX Runtime. Runs in workers.

Parameters: none of its own. Labels are read from the model's metadata, key "labels", a JSON list.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from quadriga_proto.codec import Array

from quadriga.backends.base import Backend, ModelLoadError, ModelSource
from quadriga.backends.contract import expect_file, first_line, settle
from quadriga.specs import ANY, ModelSpec, TensorSpec

_DATATYPES: Final = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64", "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32",
    "tensor(int64)": "INT64", "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}  # fmt: skip
_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"


class OnnxBackend(Backend):
    """One InferenceSession with all graph optimisations, run in sequence on `threads` threads."""

    def cuda_devices(self) -> int:
        """See `Backend.cuda_devices`; ONNX Runtime does not count, so one is assumed where it has the provider."""
        import onnxruntime

        return int(_CUDA in onnxruntime.get_available_providers())

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        expect_file(source, "an ONNX model", zipped=False)
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelLoadError("ONNX models need ONNX Runtime: pip install 'quadriga[onnx]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = source.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Spinning threads gain little here and take cores from the server and the other models.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(source.path, options, providers=self._providers(source))
        except Exception as error:
            raise ModelLoadError(f"{source.path} is no ONNX model that can run: {first_line(error)}") from error
        inputs = [_tensor(argument, source) for argument in self._session.get_inputs()]
        outputs = [_tensor(argument, source) for argument in self._session.get_outputs()]
        self._input_names = [tensor.name for tensor in inputs]
        self._output_names = [tensor.name for tensor in outputs]
        return settle(source, inputs, outputs, self._labels(source))

    def infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See `Backend.infer`."""
        feed = dict(zip(self._input_names, inputs, strict=True))
        outputs: list[Array] = self._session.run(self._output_names, feed)
        return outputs

    def _providers(self, source: ModelSource) -> list[Any]:
        if source.device == "cpu":
            return [_CPU]
        if not self.cuda_devices():
            raise ModelLoadError(f"device {source.device} was asked for, but this ONNX Runtime has no {_CUDA}")
        index = int(source.device.partition(":")[2] or 0)
        return [(_CUDA, {"device_id": index}), _CPU]

    def _labels(self, source: ModelSource) -> list[str]:
        text = self._session.get_modelmeta().custom_metadata_map.get("labels", "[]")
        try:
            labels = json.loads(text)
        except ValueError as error:
            raise ModelLoadError(f"the metadata 'labels' of {source.path} is no JSON list: {error}") from error
        return [str(label) for label in labels]


def _tensor(argument: Any, source: ModelSource) -> TensorSpec:  # noqa: ANN401 - onnxruntime has no types
    datatype = _DATATYPES.get(argument.type)
    if datatype is None:
        raise ModelLoadError(f"{argument.name!r} of {source.path} is {argument.type}; expected one of a tensor's types")
    shape = tuple(size if isinstance(size, int) else ANY for size in argument.shape)
    return TensorSpec(name=argument.name, datatype=datatype, shape=shape)
