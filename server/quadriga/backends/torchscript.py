"""TorchScript archives on PyTorch. Runs in workers.

TorchScript carries neither names nor shapes. They come from the archive's extra file `quadriga.json`, which our
exporter embeds, else from the configuration:

    {"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 32, 32, 3]}], "outputs": [...], "labels": [...]}

with whole shapes, -1 where open.

Parameters: none of its own.
"""

import logging
import os
import warnings
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from quadriga.backends import cuda, openmp, torchscript_graph
from quadriga.backends.base import CPU, Backend, ModelLoadError, ModelSource, Unpin, first_line, zeros
from quadriga.backends.contract import describe, settle, whole
from quadriga.backends.formats import TORCHSCRIPT, expect_zip
from quadriga.backends.memory import keep_freed_memory
from quadriga.backends.torch_tensors import to_array, to_tensor
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.codec import ITEM_SIZES, Array, datatype_of, numpy_dtype

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

#: More than one, so that a module traced for a fixed batch of one is found out.
_TRIED_ROWS: Final = 2
#: How far a rewritten graph's outputs may be from the module's, relative to the largest of them where that is above 1.
_TOLERANCE: Final = 1e-4

log = logging.getLogger("quadriga.backends.torchscript")


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `quadriga.json`; shapes are whole."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...] = ()


class TorchscriptBackend(Backend):
    """A module frozen and optimised for inference."""

    def prepare(self, source: ModelSource) -> None:
        """See `Backend.prepare`."""
        openmp.prepare(source.threads)
        os.environ["MKL_NUM_THREADS"] = str(source.threads)
        if source.device == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def import_framework(self) -> None:
        """See `Backend.import_framework`."""
        _import_torch()

    def cuda_devices(self) -> int:
        """See `Backend.cuda_devices`."""
        return int(_import_torch().cuda.device_count())

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        expect_zip(source, TORCHSCRIPT)
        torch = self._torch = _import_torch()
        _set_up(torch, source)
        self._device = torch.device(source.device)
        self._stream = None if source.device == CPU else torch.cuda.Stream(self._device)
        module, metadata = self._open(source)
        if metadata is None:
            spec = settle(source, whole(source.inputs, source.batches), whole(source.outputs, source.batches))
        else:
            spec = settle(source, metadata.inputs, metadata.outputs, metadata.labels)
        _expect_servable(spec, source)
        self._run = self._optimise(module, spec)
        if self._stream is not None:
            torch.cuda.synchronize(self._device)  # what loading queued on the default stream
        self._expect_truth(spec, source)
        return spec

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        torch = self._torch
        with torch.inference_mode():
            tensors = [to_tensor(torch, array) for array in inputs]
            outputs = _flat(self._run(*tensors)) if self._stream is None else self._run_on(self._stream, tensors)
            return [to_array(torch, output) for output in outputs]

    def _run_on(self, stream: Any, tensors: Sequence[Any]) -> list[Any]:  # noqa: ANN401 - a torch.cuda.Stream
        """Copies, kernels and copies back, queued on the instance's own stream without a wait between them."""
        torch = self._torch
        with torch.cuda.stream(stream):
            on_gpu = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
            outputs = _flat(self._run(*on_gpu))
            # Page-locked, else the copy would wait; PyTorch keeps such memory for the next batch.
            found = [torch.empty_like(output, device="cpu", pin_memory=True) for output in outputs]
            for goal, output in zip(found, outputs, strict=True):
                goal.copy_(output, non_blocking=True)
        stream.synchronize()
        return found

    def pin(self, address: int, size: int) -> Unpin | None:
        """See `Backend.pin`."""
        return cuda.register(self._torch.cuda.cudart(), address, size)

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
                metadata = msgspec.json.decode(text, type=Metadata)
            except (ValueError, RecursionError) as error:
                raise ModelLoadError(f"{METADATA_FILE} inside {source.path} is damaged: {first_line(error)}") from error
            return module, metadata
        if not source.inputs or not source.outputs:
            raise ModelLoadError(
                f"{source.path} names neither inputs nor outputs, as TorchScript never does; write a model.toml beside "
                f"its version folder with their names, types and shapes, such as:\n{_DECLARE}"
            )
        return module, None

    def _optimise(self, module: Any, spec: ModelSpec) -> Any:  # noqa: ANN401 - a ScriptModule, a callable
        torch = self._torch
        with torch.inference_mode():
            if self._device.type == "cpu":
                return self._rewritten(module, spec) or torch.jit.optimize_for_inference(module)
            # What optimize_for_inference adds to freezing is for CPUs; a frozen module has no such attribute.
            return torch.jit.freeze(module) if hasattr(module, "training") else module

    def _rewritten(self, module: Any, spec: ModelSpec) -> Any:  # noqa: ANN401 - a callable, or None
        """The module's graph rewritten, where that can be compared with the module and computes the same."""
        if any(tensor.datatype != "FP32" or ANY in tensor.shape for tensor in spec.inputs):
            return None
        function = torchscript_graph.optimise(module, self._torch)
        if function is None:
            return None
        try:
            for rows in (1, _TRIED_ROWS) if spec.batches else (None,):
                if not self._agree(module, function, [zeros(tensor, rows) for tensor in spec.inputs]):
                    log.warning("runs as PyTorch optimises it, since its rewritten graph computes something else")
                    return None
        except Exception as error:
            # Of a module that does not run at all, `_expect_truth` will tell.
            log.info("runs as PyTorch optimises it, since its rewritten graph fails: %s", first_line(error))
            return None
        return function

    def _agree(self, module: Any, function: Any, shapes: Sequence[Array]) -> bool:  # noqa: ANN401 - callables
        random = np.random.default_rng(0)
        tensors = [self._torch.from_numpy(random.random(array.shape, np.float32)) for array in shapes]
        expected, found = (_flat(call(*[tensor.clone() for tensor in tensors])) for call in (module, function))
        if len(expected) != len(found):
            return False
        for one, other in zip(expected, found, strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                return False
            if one.numel() and not float((one - other).abs().max()) <= _TOLERANCE * max(1.0, float(one.abs().max())):
                return False
        return True

    def _expect_truth(self, spec: ModelSpec, source: ModelSource) -> None:
        """Runs zeros through the module, since nothing in the file ties the declared tensors to it."""
        if any(ANY in tensor.shape for tensor in spec.inputs):
            return
        rows = _TRIED_ROWS if spec.batches else None
        try:
            found = self.infer([zeros(tensor, rows) for tensor in spec.inputs])
        except Exception as error:
            inputs = ", ".join(f"{tensor.name!r} {describe(tensor)}" for tensor in spec.inputs)
            raise ModelLoadError(
                f"{source.path} does not run on what is declared as its inputs, {inputs}: {first_line(error)}"
            ) from error
        if len(found) != len(spec.outputs):
            raise ModelLoadError(
                f"{source.path} is declared to have {len(spec.outputs)} outputs, but gives {len(found)}"
            )
        for tensor, array in zip(spec.outputs, found, strict=True):
            _expect_like(tensor, array, rows, source)


def _set_up(torch: Any, source: ModelSource) -> None:  # noqa: ANN401 - the module
    torch.set_num_threads(source.threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    # The profiling executor compiles anew for shapes that it has not seen, in the middle of serving: after one run of
    # every size, a batch still took up to 17 ms instead of 3. The plain one never does, and was no slower.
    torch._C._jit_set_profiling_executor(False)
    # Inputs are read-only views of shared memory, and no operator of a frozen module writes to its inputs.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    # TorchScript is on its way out of PyTorch, and says so at every load; the user chose the format.
    warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
    if source.device == "cpu":
        keep_freed_memory()
    elif not torch.cuda.is_available():
        raise ModelLoadError(f"device {source.device} was asked for, but this PyTorch sees no GPU")


def _flat(outputs: Any) -> list[Any]:  # noqa: ANN401 - a tensor or a tuple of them
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def _import_torch() -> Any:  # noqa: ANN401 - the module
    try:
        import torch
    except ImportError as error:
        raise ModelLoadError("TorchScript models need PyTorch: pip install 'quadriga[torch]'") from error
    return torch


def _expect_servable(spec: ModelSpec, source: ModelSource) -> None:
    for tensor in (*spec.inputs, *spec.outputs):
        if tensor.datatype not in ITEM_SIZES:
            raise ModelLoadError(
                f"{tensor.name!r} of {source.path} is declared as {tensor.datatype}; TorchScript has one of "
                f"{', '.join(ITEM_SIZES)}"
            )


def _expect_like(tensor: TensorSpec, array: Array, rows: int | None, source: ModelSource) -> None:
    shape = tensor.shape if rows is None else (rows, *tensor.shape)
    fits = len(shape) == array.ndim and all(want in (ANY, have) for want, have in zip(shape, array.shape, strict=True))
    if array.dtype != numpy_dtype(tensor.datatype) or not fits:
        given = TensorSpec(name=tensor.name, datatype=datatype_of(array.dtype), shape=array.shape)
        raise ModelLoadError(
            f"output {tensor.name!r} of {source.path} is declared as {tensor.datatype}{list(shape)}, but "
            f"the module gives {describe(given)}"
        )
