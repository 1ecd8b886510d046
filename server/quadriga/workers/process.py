"""The worker: loads one model and runs the batches that its socket names, until the socket ends. Runs in a worker.

Started by `child.spawn_worker` as `python -P -m quadriga.workers.process DESCRIPTOR PARENT_PID`, or forked by a
`template`. It must not import grpc, prometheus_client or the service: a worker's memory is the framework and the model.
"""

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from quadriga.backends import BACKENDS, import_backend
from quadriga.backends.base import CPU, Backend, ModelLoadError, first_line
from quadriga.errors import one_line
from quadriga.specs import ModelSpec
from quadriga.workers.channel import Channel, ChannelClosed
from quadriga.workers.confinement import confine, forbid_new_privileges
from quadriga.workers.messages import RELAY_MARK, BatchDone, BatchFailed, Load, Loaded, LoadFailed, RunBatch, ToWorker
from quadriga.workers.priority import yielding
from quadriga.workers.slab import AttachedSlab
from quadriga.workers.warm_up import run_warm_ups

MAX_SLOTS: Final = 64
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
#: By which a worker counts as larger than it is when memory runs out, in thousandths of what there is; see proc(5).
OOM_MARGIN: Final = 250
_OOM_ADJUSTMENT: Final = Path("/proc/self/oom_score_adj")
_MOST_OOM_ADJUSTMENT: Final = 1000

log = logging.getLogger("quadriga.workers.process")


class RelayFormatter(logging.Formatter):
    """Marks every line of a record, so that the server process can tell it from what a framework prints."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, each line as "<mark><level> <text>"."""
        return "\n".join(f"{RELAY_MARK}{record.levelname} {line}" for line in super().format(record).splitlines())


def configure_logging() -> None:
    """Sends log records to the pipe that the server process reads."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RelayFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("quadriga").setLevel(logging.DEBUG)  # the server process decides what is shown


def main(arguments: Sequence[str]) -> None:
    """Runs a worker to its end; never returns."""
    descriptor, parent = int(arguments[0]), int(arguments[1])
    run(enter(descriptor, parent))


def enter(descriptor: int, parent: int) -> socket.socket:
    """Makes a process just started one that lives and ends with its parent; its end of the socket."""
    # Whoever stops the server may signal the whole group; when a worker ends is the server's decision alone.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    die_with(parent)
    be_killed_first()
    forbid_new_privileges()
    os.set_inheritable(descriptor, False)
    configure_logging()
    return socket.socket(fileno=descriptor)


def run(end: socket.socket) -> NoReturn:
    """Serves the other end of the socket until it closes, and ends the process."""
    try:
        serve(Channel(end, ToWorker))
    except ChannelClosed:
        pass  # the server wants no more batches, or is gone: both are the end
    except BaseException:
        log.exception("the worker failed")
        leave(1)
    leave(0)


def die_with(parent: int) -> None:
    """Has the kernel kill this process when its parent dies, even while a backend holds the interpreter.

    Elsewhere than on Linux the end of the socket, read between batches, has to do.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        leave(0)


def be_killed_first() -> None:
    """Has the kernel, where memory runs out, rather kill this process, which is replaced, than the server."""
    with suppress(OSError):  # elsewhere than on Linux
        usual = int(_OOM_ADJUSTMENT.read_text())
        _OOM_ADJUSTMENT.write_text(str(min(usual + OOM_MARGIN, _MOST_OOM_ADJUSTMENT)))


def leave(status: int) -> NoReturn:
    """Ends the process without running the frameworks' exit handlers, which are slow and at times crash."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve(channel: Channel[ToWorker]) -> None:
    """Loads, reports, and runs batches until the other side closes the stream.

    Raises:
        ChannelClosed: The end.
    """
    messages, descriptors = channel.receive_with_descriptors(2 * MAX_SLOTS)
    while not messages:  # the kernel hands out what comes with descriptors in parts of some 36 KB
        messages = channel.receive()
    load = messages[0]
    if not isinstance(load, Load):
        raise TypeError(f"expected Load first, got {type(load).__name__}")
    slab = AttachedSlab(descriptors)
    # What damaged files and odd inputs have a framework raise is told in a line: its code is none of the operator's.
    traces = logging.DEBUG if load.backend in BACKENDS else logging.ERROR
    try:
        confine(load.confinement)
        with yielding() if load.yields else nullcontext():
            backend, loaded = load_model(load)
    except ModelLoadError as error:
        channel.send(LoadFailed(str(error)))
        return
    except Exception as error:
        log.log(traces, "loading %s failed", load.source.path, exc_info=True)
        channel.send(LoadFailed(f"{load.source.path} cannot be loaded: {first_line(error)}"))
        return
    if loaded.device != CPU:
        slab.pin_inputs(backend.pin)
    # What loading made stays for the worker's life: keep it out of every later garbage collection.
    gc.collect()
    gc.freeze()
    try:
        channel.send(loaded)
    except UnicodeEncodeError as error:
        channel.send(LoadFailed(f"{load.source.path} has a name or a label that is no text: {first_line(error)}"))
        return
    while True:
        for message in channel.receive():
            if isinstance(message, RunBatch):
                channel.send(run_batch(backend, loaded.spec, slab, message, traces))


def load_model(load: Load) -> tuple[Backend, Loaded]:
    """Makes the backend, loads the model and warms up: every batch size up to the largest, then as the config says."""
    started = time.monotonic_ns()
    try:
        backend_class = import_backend(load.backend)
    except (ImportError, AttributeError) as error:
        raise ModelLoadError(f"backend {load.backend!r} cannot be imported: {error}") from error
    if not issubclass(backend_class, Backend):
        raise ModelLoadError(f"backend {load.backend!r} is not a subclass of quadriga.backends.base.Backend")
    backend = backend_class()
    backend.prepare(load.source)
    source = msgspec.structs.replace(load.source, device=choose_device(backend, load.source.device))
    spec = backend.load(source)
    loaded = time.monotonic_ns()
    # The largest first, so that allocators reserve once.
    backend.warm_up(spec, range(load.max_batch_size, 0, -1) if spec.batches else [1])
    run_warm_ups(backend, spec, load.warm_ups, Path(load.warm_up_folder), load.max_batch_size)
    return backend, Loaded(
        spec=spec, device=source.device, load_ns=loaded - started, warm_up_ns=time.monotonic_ns() - loaded
    )


def choose_device(backend: Backend, asked: str) -> str:
    """The device to run on: what was asked for, and for "auto" the first GPU that the backend can use, else the CPU."""
    if asked != "auto":
        return asked
    return "cuda:0" if backend.cuda_devices() else CPU


def run_batch(
    backend: Backend, spec: ModelSpec, slab: AttachedSlab, batch: RunBatch, traces: int
) -> BatchDone | BatchFailed:
    """Runs one batch from its slot's inputs to its slot's outputs; what the backend raises becomes the answer.

    The log has that in a line, and from the level `traces` on where it was raised.
    """
    started = time.monotonic_ns()
    try:
        outputs = backend.infer(slab.inputs(batch.slot, batch.segment_size, batch.inputs, spec.inputs))
        computed = time.monotonic_ns()
        size, regions = slab.put_outputs(batch.slot, outputs)
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        log.warning("a batch failed: %s", reason)
        log.log(traces, "a batch failed", exc_info=True)
        return BatchFailed(batch.slot, reason)
    return BatchDone(
        slot=batch.slot,
        segment_size=size,
        outputs=regions,
        started_ns=started,
        computed_ns=computed,
        finished_ns=time.monotonic_ns(),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
