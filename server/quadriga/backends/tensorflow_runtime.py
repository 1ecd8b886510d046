"""TensorFlow as a worker sets it up, and functions compiled by it, for SavedModel and for Keras. Runs in workers."""

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from quadriga.backends import openmp
from quadriga.backends.base import ModelLoadError, ModelSource, first_line
from quadriga_proto.codec import Array

EXTRA: Final = "pip install 'quadriga[tensorflow]'"
Function = Callable[[Sequence[Array | None]], Sequence[Array]]

log = logging.getLogger("quadriga.backends.tensorflow_runtime")


def prepare(source: ModelSource) -> None:
    """What TensorFlow reads from the environment when it is imported."""
    on_cpu = source.device == "cpu"
    # On a CPU the only errors that the native log ever shows are about GPUs that are not there.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if on_cpu else "2")
    if on_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    openmp.prepare(source.threads)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(source.threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"


def import_tensorflow(source: ModelSource) -> Any:  # noqa: ANN401 - the module
    """TensorFlow, bound to the source's device and threads.

    Raises:
        ModelLoadError: It is not installed, or does not see the device.
    """
    tensorflow = _import_quietly()
    tensorflow.config.threading.set_intra_op_parallelism_threads(source.threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    gpus = tensorflow.config.list_physical_devices("GPU")
    if source.device == "cpu":
        tensorflow.config.set_visible_devices([], "GPU")
        return tensorflow
    index = int(source.device.partition(":")[2] or 0)
    if index >= len(gpus):
        raise ModelLoadError(f"device {source.device} was asked for, but TensorFlow sees {len(gpus)} GPUs")
    tensorflow.config.set_visible_devices(gpus[index], "GPU")
    # Without this TensorFlow takes the whole card at once, and no other model could share it.
    tensorflow.config.experimental.set_memory_growth(gpus[index], True)
    return tensorflow


def cuda_devices() -> int:
    """How many GPUs TensorFlow sees."""
    return len(_import_quietly().config.list_physical_devices("GPU"))


def compile_function(call: Callable[..., Sequence[Any]], signature: Sequence[Any]) -> Function:
    """One compiled function over arrays.

    Args:
        call: Takes as many tensors as the signature has, and gives a flat list of tensors.
        signature: A TensorSpec per input.
    """
    import tensorflow as tf

    def trace(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - a ConcreteFunction
        return tf.function(function, input_signature=signature, autograph=False).get_concrete_function()

    traced = trace(call)
    frozen = _freeze(traced, len(signature))
    # Traced again, since a frozen function by itself runs without TensorFlow's graph optimisations.
    function = traced if frozen is None else trace(lambda *tensors: list(frozen(*tensors)))
    flat = _flat(function)
    dtypes = [spec.dtype for spec in signature]

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        return [output.numpy() for output in flat(list(map(tf.convert_to_tensor, inputs, dtypes)))]

    # Concrete functions refer weakly to what they were made of.
    run.keeps = (call, traced, frozen, function)  # type: ignore[attr-defined]
    return run


def _flat(function: Any) -> Callable[[list[Any]], Sequence[Any]]:  # noqa: ANN401 - a ConcreteFunction
    """Its call for a list of tensors that fit its signature, which the server's own checks have made sure of.

    The public call compares them with the signature once more, which takes 0.08 ms: a fifth of the time of a small CNN.
    """
    call = getattr(function, "_call_flat", None)
    if call is None:  # a method of TensorFlow's own, which a version may rename
        return lambda tensors: list(function(*tensors))
    captured = function.captured_inputs
    return lambda tensors: list(call(tensors, captured))


def _freeze(function: Any, arguments: int) -> Any:  # noqa: ANN401 - a ConcreteFunction
    """The function with its weights as constants, or None where that cannot be.

    Constant weights let TensorFlow fold batch normalisation and fuse convolutions: measured on one thread, 4.8 ms
    instead of 8.0 for a MobileNetV2, and 0.43 instead of 0.50 for a CNN of two convolutions.
    """
    if _writes_variables(function):
        return None
    try:
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        frozen = convert_variables_to_constants_v2(function)
    except Exception as error:
        log.info("runs with its weights as variables, since they cannot be made constants: %s", first_line(error))
        return None
    # What is no variable, such as a lookup table, would have become an argument.
    return frozen if len(frozen.inputs) == arguments else None


def _writes_variables(function: Any) -> bool:  # noqa: ANN401 - a ConcreteFunction
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
    return any(node.op.startswith("Assign") for node in nodes)


def _import_quietly() -> Any:  # noqa: ANN401 - the module
    try:
        with no_banner():
            import tensorflow
    except ImportError as error:
        raise ModelLoadError(f"this format needs TensorFlow: {EXTRA}") from error
    for name in ("tensorflow", "absl"):  # it logs with both
        logging.getLogger(name).addFilter(_without_traceback)
    return tensorflow


def _without_traceback(record: logging.LogRecord) -> bool:
    """Tells what TensorFlow found wrong with a file, without where in its code it was."""
    record.exc_info = None
    return True


@contextmanager
def no_banner() -> Iterator[None]:
    """Keeps back what is written to stderr, and shows it only when the block fails.

    While it is imported TensorFlow greets on stderr, natively and before it has read any setting for its log.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            file.seek(0)
            shutil.copyfileobj(file, sys.stderr.buffer)
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
