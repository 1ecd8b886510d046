"""SavedModels on TensorFlow, by their signature. Runs in workers.

Parameters:
    signature: Which one to serve. Default: serving_default.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from quadriga_proto.codec import Array, datatype_of

from quadriga.backends import tensorflow_runtime
from quadriga.backends.base import Backend, ModelLoadError, ModelSource
from quadriga.backends.contract import first_line, settle
from quadriga.specs import ANY, ModelSpec, TensorSpec

DEFAULT_SIGNATURE: Final = "serving_default"


class TensorflowBackend(Backend):
    """A signature's concrete function: compiled once, called directly."""

    def prepare(self, source: ModelSource) -> None:
        """See `Backend.prepare`."""
        tensorflow_runtime.prepare(source)

    def cuda_devices(self) -> int:
        """See `Backend.cuda_devices`."""
        return tensorflow_runtime.cuda_devices()

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        if not (source.file / "saved_model.pb").is_file():
            raise ModelLoadError(f"{source.path} has no saved_model.pb in it; expected a SavedModel's folder")
        self._tensorflow = tensorflow_runtime.import_tensorflow(source)
        try:
            # Kept: a concrete function holds only weak references to the variables that it reads.
            self._model = self._tensorflow.saved_model.load(source.path)
        except Exception as error:
            raise ModelLoadError(f"{source.path} is no SavedModel that can run: {first_line(error)}") from error
        self._function = self._signature(source)
        tensors = self._function.structured_input_signature[1]
        outputs = self._function.structured_outputs
        self._input_names = sorted(tensors)
        self._output_names = sorted(outputs)
        self._input_dtypes = [tensors[name].dtype for name in self._input_names]
        return settle(
            source,
            [_tensor(name, tensors[name]) for name in self._input_names],
            [_tensor(name, outputs[name]) for name in self._output_names],
        )

    def infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See `Backend.infer`."""
        convert = self._tensorflow.convert_to_tensor
        tensors = {
            name: convert(array, dtype)
            for name, array, dtype in zip(self._input_names, inputs, self._input_dtypes, strict=True)
        }
        outputs = self._function(**tensors)
        return [np.asarray(outputs[name].numpy()) for name in self._output_names]

    def _signature(self, source: ModelSource) -> Any:  # noqa: ANN401 - a tensorflow ConcreteFunction
        name = source.parameters.get("signature", DEFAULT_SIGNATURE)
        signatures = self._model.signatures
        if name not in signatures:
            known = ", ".join(signatures) or "none"
            raise ModelLoadError(
                f"{source.path} has no signature {name!r}; it has: {known}. Name one in model.toml: "
                '[parameters] signature = "..."'
            )
        return signatures[name]


def _tensor(name: str, spec: Any) -> TensorSpec:  # noqa: ANN401 - a tensorflow TensorSpec
    if spec.shape.rank is None:
        raise ModelLoadError(f"{name!r} has a shape of unknown rank; export the model with an input signature")
    shape = tuple(ANY if size is None else size for size in spec.shape.as_list())
    datatype = "BYTES" if spec.dtype.name == "string" else datatype_of(np.dtype(spec.dtype.as_numpy_dtype))
    return TensorSpec(name=name, datatype=datatype, shape=shape)
