"""Page-locked memory and what is kept on a GPU, against stand-ins: the drivers' part is tested where there is a GPU."""

from typing import Any

import numpy as np
import pytest

from quadriga.backends import cuda
from quadriga.backends.base import ModelLoadError, ModelSource
from quadriga.backends.onnx import OnnxBackend
from quadriga_proto.codec import Array


class Runtime:
    """The CUDA runtime's two calls."""

    def __init__(self, answer: int = 0) -> None:
        self.answer = answer
        self.registered: dict[int, int] = {}

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        """Keeps the books."""
        if not self.answer:
            self.registered[address] = size
        return self.answer

    def cudaHostUnregister(self, address: int) -> int:
        """Keeps the books."""
        del self.registered[address]
        return 0


def test_memory_is_locked_until_it_is_unlocked() -> None:
    runtime = Runtime()
    unpin = cuda.register(runtime, 4096, 8192)
    assert runtime.registered == {4096: 8192}
    assert unpin
    unpin()
    assert not runtime.registered


def test_a_driver_that_refuses_costs_speed_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert cuda.register(Runtime(answer=2), 4096, 8192) is None
    assert "cannot be page-locked" in caplog.text


class DeviceMemory:
    """An OrtValue in a GPU's memory."""

    def __init__(self, array: Array) -> None:
        self.content = array.copy()

    def update_inplace(self, array: Array) -> None:
        """Like OrtValue's."""
        self.content[...] = array


class Onnxruntime:
    """The module."""

    class OrtValue:
        """Its class."""

        @staticmethod
        def ortvalue_from_numpy(array: Array, device: str, index: int) -> DeviceMemory:
            """Like OrtValue's."""
            assert (device, index) == ("cuda", 1)
            return DeviceMemory(array)


def test_memory_on_a_gpu_is_kept_for_the_next_batch_of_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadriga.backends.onnx._MOST_SHAPES", 2)
    backend: Any = OnnxBackend()
    backend._runtime, backend._index, backend._values = Onnxruntime, 1, {}
    first = backend._on_gpu("x", np.zeros(4, np.float32))
    again = backend._on_gpu("x", np.ones(4, np.float32))
    assert again is first
    assert again.content.tolist() == [1.0] * 4
    others = [backend._on_gpu("x", np.zeros(size, np.float32)) for size in (1, 2)]
    assert first not in others
    assert len(backend._values) <= 2


@pytest.mark.parametrize(
    ("provider", "said"), [("tensorrt", "is to run on the CPU"), ("openvino", "expected 'cuda' or 'tensorrt'")]
)
def test_a_provider_that_cannot_be_is_refused(provider: str, said: str) -> None:
    with pytest.raises(ModelLoadError, match=said):
        OnnxBackend()._providers(ModelSource(path="model.onnx", parameters={"provider": provider}))
