"""SavedModels on TensorFlow, by their signature. Runs in workers.

Parameters:
    signature: Which one to serve. Default: serving_default.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

from quadriga.backends import tensorflow_runtime
from quadriga.backends.base import Backend, ModelLoadError, ModelSource, first_line
from quadriga.backends.contract import settle
from quadriga.backends.formats import expect_saved_model
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.codec import Array, CodecError, datatype_of

DEFAULT_SIGNATURE: Final = "serving_default"


class TensorflowBackend(Backend):
    """A signature, compiled once."""

    def prepare(self, source: ModelSource) -> None:
        """See `Backend.prepare`."""
        tensorflow_runtime.prepare(source)

    def import_framework(self) -> None:
        """See `Backend.import_framework`."""
        with tensorflow_runtime.no_banner():
            import_module("tensorflow")

    def cuda_devices(self) -> int:
        """See `Backend.cuda_devices`."""
        return tensorflow_runtime.cuda_devices()

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        expect_saved_model(source)
        tensorflow = tensorflow_runtime.import_tensorflow(source)
        try:
            # Kept: a concrete function holds only weak references to the variables that it reads.
            self._model = tensorflow.saved_model.load(source.path)
        except Exception as error:
            raise ModelLoadError(f"{source.path} is no SavedModel that can run: {first_line(error)}") from error
        function = self._signature(source)
        tensors, outputs = function.structured_input_signature[1], function.structured_outputs
        input_names, output_names = sorted(tensors), sorted(outputs)
        spec = settle(
            source,
            [_tensor(name, tensors[name], source) for name in input_names],
            [_tensor(name, outputs[name], source) for name in output_names],
        )

        def call(*values: Any) -> list[Any]:  # noqa: ANN401 - tensors
            results = function(**dict(zip(input_names, values, strict=True)))
            return [results[name] for name in output_names]

        signature = [tensorflow.TensorSpec(tensors[name].shape, tensors[name].dtype) for name in input_names]
        self._run = tensorflow_runtime.compile_function(call, signature)
        return spec

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        return self._run(inputs)

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


def _tensor(name: str, spec: Any, source: ModelSource) -> TensorSpec:  # noqa: ANN401 - a tensorflow TensorSpec
    if spec.shape.rank is None:
        raise ModelLoadError(
            f"{name!r} of {source.path} has a shape of unknown rank; export the model with a signature of known ranks"
        )
    shape = tuple(ANY if size is None else size for size in spec.shape.as_list())
    if spec.dtype.name == "string":
        return TensorSpec(name=name, datatype="BYTES", shape=shape)
    try:
        return TensorSpec(name=name, datatype=datatype_of(np.dtype(spec.dtype.as_numpy_dtype)), shape=shape)
    except CodecError as error:
        raise ModelLoadError(f"{name!r} of {source.path} cannot be served: {error}") from error
