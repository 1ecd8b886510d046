"""Page-locked host memory, through the CUDA runtime. Runs in workers on a GPU.

A copy from ordinary memory to a GPU goes through a buffer of the driver's, in pieces and with the caller waiting; from
page-locked memory the GPU fetches by itself. `cudaHostRegister` locks memory that exists, which is what the slab is:
https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__MEMORY.html
"""

import ctypes
import logging
from typing import Any, Final

from quadriga.backends.base import Unpin

#: Locked for every context of the process.
_PORTABLE: Final = 1  # cudaHostRegisterPortable
#: By the name under which frameworks of the last years have it loaded.
_LIBRARIES: Final = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")

log = logging.getLogger("quadriga.backends.cuda")


def runtime_library() -> Any | None:  # noqa: ANN401 - a CDLL
    """The CUDA runtime that a framework has loaded into this process; None where none is found."""
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def register(runtime: Any, address: int, size: int) -> Unpin | None:  # noqa: ANN401 - a CDLL, or torch's module
    """Page-locks memory; returns what unlocks it, or None where the driver refuses, and copies are slower.

    Args:
        runtime: Has `cudaHostRegister` and `cudaHostUnregister`.
        address: Of the first byte.
        size: In bytes.
    """
    pointer = ctypes.c_void_p(address) if isinstance(runtime, ctypes.CDLL) else address
    length = ctypes.c_size_t(size) if isinstance(runtime, ctypes.CDLL) else size
    if problem := int(runtime.cudaHostRegister(pointer, length, _PORTABLE)):
        log.warning("memory of %d bytes cannot be page-locked for the GPU: CUDA error %d", size, problem)
        return None

    def unregister() -> None:
        runtime.cudaHostUnregister(pointer)

    return unregister
