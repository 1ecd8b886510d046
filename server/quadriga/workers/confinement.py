"""A worker's confinement: takes from it what a model has no use for, before any of the model runs. Runs in workers.

What is taken cannot be had back, and what the worker starts does not have it either. It is done when the worker knows
its model, whether it was spawned or forked: its framework may be imported, but has started no thread, since threads
that are there already would stay unconfined.
"""

import ctypes
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from quadriga.backends.base import ModelLoadError
from quadriga.workers import landlock, seccomp
from quadriga.workers.landlock import Rule
from quadriga.workers.messages import Confinement
from quadriga.workers.priority import NEEDED_LIMIT

_PR_SET_NO_NEW_PRIVS: Final = 38  # linux/prctl.h
_CAP_DAC_READ_SEARCH: Final = 2  # linux/capability.h
_CAPABILITY_VERSION: Final = 0x20080522
#: What programs and libraries read that a distribution installs.
_SYSTEM: Final = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/proc", "/sys")
#: What is known to all; the rest of /etc is not.
_ETC: Final = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "os-release", "passwd", "group",
    "nsswitch.conf", "mime.types",
)  # fmt: skip
#: Of the user's home alone what TensorFlow and Keras read when they are imported.
_KERAS_SETTINGS: Final = "~/.keras/keras.json"
_READABLE_DEVICES: Final = ("/dev/urandom", "/dev/random", "/dev/zero")

log = logging.getLogger("quadriga.workers.confinement")


def forbid_new_privileges() -> None:
    """From now on no program that this process starts has more rights than it, set-user-ID or not."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def confine(asked: Confinement) -> None:
    """Confines this process as asked.

    Raises:
        ModelLoadError: It is required, and cannot be had.
    """
    if asked.memory_bytes:
        _limit(resource.RLIMIT_DATA, asked.memory_bytes)
    if asked.mode == "off":
        return
    if asked.folder:
        os.environ["TMPDIR"] = tempfile.tempdir = asked.folder
    # A dump holds tensors and weights.
    _limit(resource.RLIMIT_CORE, 0)
    steps: tuple[Callable[[], None], ...] = (
        expect_one_thread,
        drop_capabilities,
        lambda: landlock.restrict(rules(asked)),
        lambda: seccomp.refuse(local_sockets=asked.gpu, programs=asked.gpu),
    )
    for step in steps:
        try:
            step()
        except OSError as error:
            if asked.mode == "required":
                raise ModelLoadError(f"the worker cannot be confined, which is required: {error}") from error
            log.warning("the worker is not wholly confined: %s", error)


def expect_one_thread() -> None:
    """Makes sure that no thread is left out.

    Raises:
        OSError: There are some that would stay as they are.
    """
    threads = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
    if threads > 1:
        raise OSError(f"{threads - 1} threads that run already stay as they are")


def rules(asked: Confinement) -> Iterator[Rule]:
    """What the worker may open: Python's and the system's folders, the model's, and its own to write to.

    A worker on a GPU also has the devices, and may start programs, such as CUDA's assembler.
    """
    read = landlock.READ | (landlock.EXECUTE if asked.gpu else 0)
    for path in (*_SYSTEM, *_python_folders(), *os.getenv("LD_LIBRARY_PATH", "").split(":")):
        if path:
            yield Rule(path, read)
    for name in _ETC:
        yield Rule(f"/etc/{name}", landlock.READ)
    for path in (os.path.expanduser(_KERAS_SETTINGS), *asked.readable):
        yield Rule(path, landlock.READ)
    for path in _READABLE_DEVICES:
        yield Rule(path, landlock.READ)
    yield Rule("/dev/null", landlock.READ | landlock.WRITE_FILE)
    if asked.folder:
        yield Rule(asked.folder, landlock.WRITE)
    if asked.gpu:
        yield from _devices()


def drop_capabilities() -> None:
    """Gives up all that root may do beyond others, but for reading files whoever owns them."""
    # So that a worker that yields while it loads may still come back; see `priority`.
    with suppress(ValueError, OSError):
        _limit(resource.RLIMIT_NICE, NEEDED_LIMIT)
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; of the lower 32 capabilities, then the higher
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget: " + os.strerror(ctypes.get_errno()))
    kept = sets[1] & 1 << _CAP_DAC_READ_SEARCH
    if libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)) != 0:
        raise OSError(ctypes.get_errno(), "capset: " + os.strerror(ctypes.get_errno()))


def _python_folders() -> Iterator[str]:
    yield from (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    yield from (path for path in sys.path if path)


def _devices() -> Iterator[Rule]:
    for device in Path("/dev").iterdir():
        if device.name.startswith("nvidia"):
            yield Rule(str(device), landlock.READ | landlock.WRITE_FILE | landlock.IOCTL_DEVICE)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if what != resource.RLIMIT_NICE and hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))
