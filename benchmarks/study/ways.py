"""Calls of one network as each framework's reader writes them, and as this server runs the same file.

A process is for one way: `environment` is set before it starts, and what is called here imports the framework.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from backends import KEPT, served
from variant import Run

from quadriga_client.load.fingerprint import affinity

#: The backend class that serves the file, prepared, loaded and called as a worker does.
SERVED: Final = "as served"
#: What Keras runs on, where it is installed.
KERAS_BACKENDS: Final = ("tensorflow", "torch", "jax")
#: What a thread pool is asked to be, by every library that might bring one.
_THREADS: Final = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC",
)  # fmt: skip


class Way(NamedTuple):
    """A way to call the network.

    Attributes:
        framework: As tables call it.
        call: The line that its reader writes, or `SERVED`.
        form: The model's format.
        keras_backend: What Keras runs on; empty for the others.
    """

    framework: str
    call: str
    form: str
    keras_backend: str = ""

    def file(self, repository: Path) -> Path:
        """The network in the way's format: the demo's `same_*` have the same weights."""
        return next((repository / f"same_{self.form}" / "1").glob("model.*"))

    def environment(self, threads: int | None) -> Mapping[str, str]:
        """Of its process; `threads` None: all cores, which is what most of these libraries take by themselves."""
        chosen = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        if threads is not None and self.call != SERVED:
            chosen |= dict.fromkeys(_THREADS, str(threads))
        return chosen | ({"KERAS_BACKEND": self.keras_backend} if self.keras_backend else {})


MODEL: Final = "model(x)"
PREDICT: Final = "model.predict(x)"
PREDICT_ON_BATCH: Final = "model.predict_on_batch(x)"
SIGNATURE: Final = "signature(x)"
MODULE: Final = "module(x)"
SCRIPT: Final = "torch.jit.load(file)(x)"
SESSION: Final = "session.run(None, x)"


def all_ways(keras_backends: Sequence[str]) -> tuple[Way, ...]:
    """Every way; Keras' on each of the backends named."""
    keras = [
        Way(f"keras on {name}", call, "keras", name)
        for name in keras_backends
        for call in (MODEL, PREDICT, PREDICT_ON_BATCH, SERVED)
    ]
    return (
        Way("tensorflow", SIGNATURE, "savedmodel"),
        Way("tensorflow", SERVED, "savedmodel"),
        *keras,
        Way("pytorch", MODULE, "keras", "torch"),
        Way("pytorch", SCRIPT, "torchscript"),
        Way("pytorch", SERVED, "torchscript"),
        Way("onnx", SESSION, "onnx"),
        Way("onnx", SERVED, "onnx"),
    )


def build(way: Way, repository: Path, threads: int | None) -> tuple[Run, Sequence[int]]:
    """The call, in a process with the way's environment, and the shape of a row."""
    file = way.file(repository)
    if way.call == SERVED:
        from quadriga.backends import FORMATS

        parameters = {"keras_backend": way.keras_backend} if way.keras_backend else {}
        return served(file, FORMATS[way.form].backend, parameters, threads or affinity() or 1)
    return _BUILDERS[way.call](file, threads), (32, 32, 3)


def _load_keras(file: Path) -> Any:  # noqa: ANN401 - a keras.Model
    import keras

    return keras.models.load_model(file)


def _model(file: Path, threads: int | None) -> Run:
    from keras import ops

    model = _load_keras(file)
    return lambda x: ops.convert_to_numpy(model(x))


def _predict(file: Path, threads: int | None) -> Run:
    model = _load_keras(file)
    return lambda x: model.predict(x, verbose=0)


def _predict_on_batch(file: Path, threads: int | None) -> Run:
    model = _load_keras(file)
    return lambda x: model.predict_on_batch(x)


def _signature(file: Path, threads: int | None) -> Run:
    import tensorflow as tf

    # A signature refers weakly to its model's variables.
    KEPT.append(tf.saved_model.load(str(file)))
    signature = KEPT[-1].signatures["serving_default"]
    return lambda x: signature(image=tf.constant(x))["scores"].numpy()


def _module(file: Path, threads: int | None) -> Run:
    """The zoo's PyTorch network, which has the same layers, with the weights of the Keras file."""
    import torch

    from quadriga_zoo.networks.pytorch import ConvolutionalNetwork

    first, first_bias, second, second_bias, dense, dense_bias = map(torch.from_numpy, _load_keras(file).get_weights())
    classes = len(dense_bias)
    # Keras flattens [height, width, channels], PyTorch [channels, height, width].
    flat = dense.reshape(6, 6, second.shape[3], classes).permute(3, 2, 0, 1).reshape(classes, -1)
    network = ConvolutionalNetwork(classes)
    weights = [first.permute(3, 2, 0, 1), first_bias, second.permute(3, 2, 0, 1), second_bias, flat, dense_bias]
    network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
    network.eval()

    def run(x: Any) -> Any:  # noqa: ANN401
        with torch.inference_mode():
            return network(torch.from_numpy(x)).exp().numpy()

    return run


def _script(file: Path, threads: int | None) -> Run:
    import torch

    module = torch.jit.load(str(file))

    def run(x: Any) -> Any:  # noqa: ANN401
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()

    return run


def _session(file: Path, threads: int | None) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"image": x})[0]


_BUILDERS: Final[dict[str, Callable[[Path, int | None], Run]]] = {
    MODEL: _model,
    PREDICT: _predict,
    PREDICT_ON_BATCH: _predict_on_batch,
    SIGNATURE: _signature,
    MODULE: _module,
    SCRIPT: _script,
    SESSION: _session,
}
