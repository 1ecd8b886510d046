"""Backends by name. Imported in the server process for the names alone; a backend's module is imported in its worker.

A name stands for "module:Class", and a configuration may give such a string itself: `backend = "my_pkg.mod:MyBackend"`.
"""

from importlib import import_module
from typing import Final, NamedTuple


class Format(NamedTuple):
    """A model format: what its file is called, which backend runs it and what the protocol calls it.

    Attributes:
        suffix: Of the model's file or folder.
        backend: A key of `BACKENDS`.
        platform: `ModelMetadataResponse.platform`; the Open Inference Protocol lists no name for `.keras`.
        extra: The extra of this package that installs the framework; empty where none is needed.
    """

    suffix: str
    backend: str
    platform: str
    extra: str


#: By name, as tables and metadata show it. A repository's file is called "model" plus the suffix.
FORMATS: Final[dict[str, Format]] = {
    "savedmodel": Format(".savedmodel", "tensorflow", "tensorflow_savedmodel", "tensorflow"),
    "keras": Format(".keras", "keras", "keras_v3", "tensorflow"),
    "torchscript": Format(".pt", "torchscript", "pytorch_torchscript", "torch"),
    "onnx": Format(".onnx", "onnx", "onnx_onnxv1", "onnx"),
    "fake": Format(".fake", "fake", "quadriga_fake", ""),
}
BACKENDS: Final[dict[str, str]] = {
    "tensorflow": "quadriga.backends.tensorflow:TensorflowBackend",
    "keras": "quadriga.backends.keras:KerasBackend",
    "torchscript": "quadriga.backends.torchscript:TorchscriptBackend",
    "onnx": "quadriga.backends.onnx:OnnxBackend",
    "fake": "quadriga.backends.fake:FakeBackend",
}
#: What Triton's repositories write in `backend` or `platform`, and the backend that it means here.
TRITON_NAMES: Final[dict[str, str]] = {
    "tensorflow_savedmodel": "tensorflow",
    "onnxruntime": "onnx",
    "onnxruntime_onnx": "onnx",
    "onnx_onnxv1": "onnx",
    "pytorch": "torchscript",
    "pytorch_libtorch": "torchscript",
    "pytorch_torchscript": "torchscript",
    "keras_v3": "keras",
}


def import_backend(name: str) -> type:
    """The class that a name or "module:Class" string stands for.

    Raises:
        ImportError: The module, or a framework that it imports at its top, is not installed.
        AttributeError: The module has no such class.
    """
    module, _, attribute = BACKENDS.get(name, name).partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, type):
        raise AttributeError(f"{name} is not a class")
    return found
