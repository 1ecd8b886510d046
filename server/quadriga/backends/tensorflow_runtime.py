"""TensorFlow as a worker sets it up, for SavedModel and for Keras on TensorFlow. Runs in workers."""

import os
from typing import Any, Final

from quadriga.backends.base import ModelLoadError, ModelSource

EXTRA: Final = "pip install 'quadriga[tensorflow]'"


def prepare(source: ModelSource) -> None:
    """What TensorFlow reads from the environment when it is imported."""
    on_cpu = source.device == "cpu"
    # On a CPU the only errors that the native log ever shows are about GPUs that are not there.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if on_cpu else "2")
    if on_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[variable] = str(source.threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"


def import_tensorflow(source: ModelSource) -> Any:  # noqa: ANN401 - the module
    """TensorFlow, bound to the source's device and threads.

    Raises:
        ModelLoadError: It is not installed, or does not see the device.
    """
    try:
        import tensorflow
    except ImportError as error:
        raise ModelLoadError(f"this format needs TensorFlow: {EXTRA}") from error
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
    try:
        import tensorflow
    except ImportError:
        return 0
    return len(tensorflow.config.list_physical_devices("GPU"))
