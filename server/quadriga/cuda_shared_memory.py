"""The rpcs of CUDA shared memory, which are not served. Server process.

A region of GPU memory can be opened only by a process that holds the GPU's driver, and the server process holds none:
the workers do, each for its own model.
"""

from collections.abc import Mapping
from typing import Final

from quadriga.errors import Unsupported
from quadriga.service import fail
from quadriga.transports import Call, Handler

METHODS: Final = ("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister")


def handlers() -> Mapping[str, Handler]:
    """The rpcs by method name."""
    return dict.fromkeys(METHODS, _refuse)


def _refuse(call: Call) -> None:
    fail(call, Unsupported("CUDA shared memory is not served; send tensors in the request"))
