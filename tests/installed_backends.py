"""The backends that are tested, and what each needs installed: a test of one that lacks something is skipped."""

import importlib.util

import pytest

#: What a backend needs installed, for it and for making its models.
NEEDS = {
    "fake": (),
    "onnx": ("onnxruntime", "onnx"),
    "torchscript": ("torch",),
    "tensorflow": ("tensorflow",),
    "keras": ("tensorflow", "keras"),
    "keras_on_torch": ("torch", "keras"),
    "keras_on_jax": ("jax", "keras"),
}


def installed(backend: str) -> pytest.MarkDecorator:
    """Skips a test where what the backend needs is not there."""
    missing = [module for module in NEEDS[backend] if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


ALL = [pytest.param(name, marks=installed(name)) for name in NEEDS]
REAL = ALL[1:]
KERAS = ALL[4:]
