"""TorchScript archives on PyTorch. Runs in workers.

TorchScript carries neither names nor shapes. They come from the archive's extra file `quadriga.json`, which our
exporter embeds, else from the configuration:

    {"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 32, 32, 3]}], "outputs": [...], "labels": [...]}

with whole shapes, -1 where open.

Parameters: none of its own.
"""

import json
import os
import warnings
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from quadriga.backends.base import Backend, ModelLoadError, ModelSource
from quadriga.backends.contract import expect_file, first_line, settle
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.codec import Array

METADATA_FILE: Final = "quadriga.json"
_DECLARE: Final = """\
max_batch_size = 16
[[input]]
name = "image"
data_type = "TYPE_FP32"
dims = [32, 32, 3]
[[output]]
name = "scores"
data_type = "TYPE_FP32"
dims = [10]"""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `quadriga.json`; shapes are whole."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...] = ()


class TorchscriptBackend(Backend):
    """A module frozen and optimised for inference."""

    def prepare(self, source: ModelSource) -> None:
        """See `Backend.prepare`."""
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[variable] = str(source.threads)
        if source.device == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def cuda_devices(self) -> int:
        """See `Backend.cuda_devices`."""
        return int(_import_torch().cuda.device_count())

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        expect_file(source, "a TorchScript archive (a zip archive)", zipped=True)
        torch = self._torch = _import_torch()
        torch.set_num_threads(source.threads)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)
        # The profiling executor compiles anew for shapes that it has not seen, in the middle of serving. Measured on a
        # small CNN over mixed batch sizes, the plain executor is also the faster one.
        torch._C._jit_set_profiling_executor(False)
        # Inputs are read-only views of shared memory, and no operator of a frozen module writes to its inputs.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        # TorchScript is on its way out of PyTorch, and says so at every load; the user chose the format.
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        if source.device != "cpu" and not torch.cuda.is_available():
            raise ModelLoadError(f"device {source.device} was asked for, but this PyTorch sees no GPU")
        self._device = torch.device(source.device)
        module, metadata = self._open(source)
        self._run = self._optimise(module)
        if metadata is not None:
            return settle(source, metadata.inputs, metadata.outputs, metadata.labels)
        return settle(source, _whole(source.inputs, source), _whole(source.outputs, source))

    def infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See `Backend.infer`."""
        torch = self._torch
        with torch.inference_mode():
            tensors = [torch.from_numpy(array) for array in inputs]
            if self._device.type != "cpu":
                tensors = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
            outputs = self._run(*tensors)
            if isinstance(outputs, torch.Tensor):
                outputs = (outputs,)
            return [output.cpu().numpy() for output in outputs]

    def _open(self, source: ModelSource) -> tuple[Any, Metadata | None]:
        extra = {METADATA_FILE: ""}
        try:
            module = self._torch.jit.load(source.path, map_location=self._device, _extra_files=extra).eval()
        except Exception as error:
            raise ModelLoadError(
                f"{source.path} is no TorchScript archive that can run: {first_line(error)}"
            ) from error
        text = extra[METADATA_FILE]
        if text:
            try:
                return module, msgspec.convert(json.loads(text), Metadata)
            except (ValueError, msgspec.ValidationError) as error:
                raise ModelLoadError(f"{METADATA_FILE} inside {source.path} is damaged: {error}") from error
        if not source.inputs or not source.outputs:
            raise ModelLoadError(
                f"{source.path} names neither inputs nor outputs, as TorchScript never does; write a model.toml beside "
                f"its version folder with their names, types and shapes, such as:\n{_DECLARE}"
            )
        return module, None

    def _optimise(self, module: Any) -> Any:  # noqa: ANN401 - a ScriptModule
        torch = self._torch
        with torch.inference_mode():
            if self._device.type == "cpu":
                return torch.jit.optimize_for_inference(module)
            # What optimize_for_inference adds to freezing is for CPUs.
            return torch.jit.freeze(module) if hasattr(module, "training") else module


def _import_torch() -> Any:  # noqa: ANN401 - the module
    try:
        import torch
    except ImportError as error:
        raise ModelLoadError("TorchScript models need PyTorch: pip install 'quadriga[torch]'") from error
    return torch


def _whole(tensors: Sequence[TensorSpec], source: ModelSource) -> list[TensorSpec]:
    """Declared tensors with the batch dimension that a declaration leaves out."""
    if not source.batches:
        return list(tensors)
    return [TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=(ANY, *tensor.shape)) for tensor in tensors]
