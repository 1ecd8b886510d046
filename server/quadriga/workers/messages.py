"""What crosses the socket between the server process and a worker, or a template of workers; both sides.

Every message is a tagged msgspec Struct in MessagePack: typed, validated when it is read, and unable to carry code.
Tensors do not travel here but through the slab; a `Region` says where one lies.

    server -> worker   Load (first, once, with the slab's file descriptors), RunBatch
    worker -> server   Loaded or LoadFailed (once), BatchDone or BatchFailed (one per RunBatch, in order)

    server -> template   Prepare (first, once), Fork (each with a worker's socket and output pipe)
    template -> server   Prepared or Useless (once), Forked (with a pidfd) or ForkFailed (one per Fork, in order),
                         Exited (one per Forked)

The end needs no message: a worker that reads the end of the stream finishes its batch and exits, and a server that
reads it knows that the worker is gone.
"""

from typing import Final, Literal

import msgspec

from quadriga.backends.base import ModelSource
from quadriga.specs import ModelSpec
from quadriga.warm_up import WarmUp

#: Stands before each line of a worker's own log, which it writes to the pipe that also takes what frameworks print.
RELAY_MARK: Final = "\x1equadriga "


class Region(msgspec.Struct, frozen=True, array_like=True):
    """Where one tensor lies in a segment of the slab.

    Attributes:
        shape: Whole shape, batch dimension included.
        offset: First byte in the segment.
        size: Bytes of the raw encoding.
    """

    shape: tuple[int, ...]
    offset: int
    size: int


class Confinement(msgspec.Struct, frozen=True):
    """What a worker may use of the machine while it has a model.

    Attributes:
        mode: Whether it is confined: "on" as far as the kernel can, "required" wholly or not at all; else "off".
        readable: The model's files and folders, and others that the settings name.
        folder: The one that it may write to; empty: none.
        gpu: Whether it may have a GPU, and so needs devices, and programs of CUDA's.
        memory_bytes: Of its own, as RLIMIT_DATA counts; 0: any.
    """

    mode: Literal["off", "on", "required"] = "off"
    readable: tuple[str, ...] = ()
    folder: str = ""
    gpu: bool = False
    memory_bytes: int = 0


class Load(msgspec.Struct, frozen=True, tag=True):
    """Load a model, warm it up and answer.

    Attributes:
        backend: A name of `quadriga.backends.BACKENDS` or "module:Class".
        source: What to load.
        slots: How many slots the slab has; two descriptors per slot come along, inputs first.
        max_batch_size: Rows of the largest batch that will come; each size up to it is warmed up.
        warm_ups: Further inputs to be warmed up with.
        warm_up_folder: Of their files.
        yields: Whether what serves is to run first meanwhile; false where it replaces a dead worker and no other serves
            the model.
        confinement: What it may use; taken from it before the model is touched.
    """

    backend: str
    source: ModelSource
    slots: int
    max_batch_size: int
    warm_ups: tuple[WarmUp, ...] = ()
    warm_up_folder: str = ""
    yields: bool = False
    confinement: Confinement = Confinement()


class RunBatch(msgspec.Struct, frozen=True, tag=True):
    """Run the batch that lies in a slot.

    Attributes:
        slot: Index of the slot.
        segment_size: Bytes of the slot's input segment now; it may have grown since the last batch.
        inputs: One region per input, in the order of the model's contract; None for one that is left out.
    """

    slot: int
    segment_size: int
    inputs: tuple[Region | None, ...]


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded and warmed up.

    Attributes:
        spec: Its contract.
        device: What it runs on: "cpu" or "cuda:N".
        load_ns: Nanoseconds for importing the framework and loading the file.
        warm_up_ns: Nanoseconds for running every batch size once.
    """

    spec: ModelSpec
    device: str
    load_ns: int
    warm_up_ns: int


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """The model cannot be loaded; the worker exits after sending this."""

    reason: str


class BatchDone(msgspec.Struct, frozen=True, tag=True):
    """The outputs of a batch lie in its slot.

    The three instants are nanoseconds of the system-wide monotonic clock, comparable with the server's own.

    Attributes:
        slot: Index of the slot.
        segment_size: Bytes of the slot's output segment now.
        outputs: One region per output, in the order of the model's contract.
        started_ns: The worker took the batch up.
        computed_ns: The backend returned.
        finished_ns: The outputs were copied into the slot.
    """

    slot: int
    segment_size: int
    outputs: tuple[Region, ...]
    started_ns: int
    computed_ns: int
    finished_ns: int


class BatchFailed(msgspec.Struct, frozen=True, tag=True):
    """The backend raised while it ran the batch; the worker goes on."""

    slot: int
    reason: str


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Become the template of a backend's workers: import its framework, run nothing, and answer.

    Attributes:
        backend: See `Load`.
        source: What `Backend.prepare` is to set the environment for; nothing is loaded from it.
    """

    backend: str
    source: ModelSource


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Fork a worker; its end of a socket and the write end of its output pipe come along, in this order."""


class Prepared(msgspec.Struct, frozen=True, tag=True):
    """The template can fork."""


class Useless(msgspec.Struct, frozen=True, tag=True):
    """Workers cannot be forked safely from this template, which ends; so would any other like it."""

    reason: str


class Forked(msgspec.Struct, frozen=True, tag=True):
    """A worker was forked; a pidfd of it comes along."""

    pid: int


class ForkFailed(msgspec.Struct, frozen=True, tag=True):
    """The machine is short of processes or memory."""

    reason: str


class Exited(msgspec.Struct, frozen=True, tag=True):
    """A forked worker ended.

    Attributes:
        pid: Its process id, which may now be given to another.
        status: Its exit status, or the number of the signal that killed it, negated.
    """

    pid: int
    status: int


ToWorker = Load | RunBatch
FromWorker = Loaded | LoadFailed | BatchDone | BatchFailed
ToTemplate = Prepare | Fork
FromTemplate = Prepared | Useless | Forked | ForkFailed | Exited
