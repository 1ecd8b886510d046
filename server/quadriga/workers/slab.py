"""Shared memory in slots: a batch's tensors, on their way to a worker and back. Both sides of the process border.

A slab belongs to one worker and lives and dies with it. It has a few equal slots, and a slot has two segments of shared
memory, each with one writer::

    slot 0   inputs   [ tensor 0, rows 0..n | pad | tensor 1, rows 0..n | pad | ... ]   written by the server process
             outputs  [ tensor 0, rows 0..n | pad | ... ]                               written by the worker
    slot 1   inputs   ...
             outputs  ...

Tensors lie one after the other in their raw wire encoding, each at a multiple of `ALIGNMENT`, laid out anew for every
batch: the messages say where. Copying the rows of a request to their place is the assembly of the batch, so isolation
costs no copy of its own.

States of a slot, kept by the server process alone:

    FREE      nobody uses it
    FILLING   the server copies rows into `inputs`; nobody else reads or writes
    RUNNING   from RunBatch to BatchDone: the worker reads `inputs` and writes `outputs`; the server touches neither
    DRAINING  the server copies answers out of `outputs`
    then FREE again. When the worker dies the whole slab goes, whatever the states.

A segment starts at the size that the model's contract suggests, and its writer may grow it when a batch needs more
(tensors with dimensions of any size, BYTES). The message that follows tells the reader the new size, and the reader
maps it anew. It never shrinks while the worker lives.

Segments have no name: a memfd on Linux, an unlinked temporary file elsewhere. They are handed over as file descriptors,
and the kernel frees them with their last holder, so nothing can be left behind, however a process ends.
"""

import ctypes
import enum
import fcntl
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from quadriga.backends.base import Unpin
from quadriga.specs import TensorSpec
from quadriga.workers.messages import Region
from quadriga_proto.codec import Array, from_raw, to_raw

#: Told of an address and a size in bytes; returns what undoes its effect, or None.
Pin = Callable[[int, int], Unpin | None]

ALIGNMENT = 64  # a cache line; also what vectorised kernels like best


def aligned(size: int) -> int:
    """The next multiple of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Segment:
    """One region of shared memory, mapped into this process.

    Attributes:
        descriptor: Owned by this object.
        size: Bytes mapped.
        view: The mapped bytes. Replaced when the segment grows; do not keep it.
    """

    def __init__(self, descriptor: int) -> None:
        """Maps what `descriptor` refers to, at its present size, and takes the descriptor over."""
        self.descriptor = descriptor
        self._pin: Pin | None = None
        self._unpin: Unpin | None = None
        self._map()

    @classmethod
    def create(cls) -> "Segment":
        """A new segment of one page."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("quadriga-slab", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            # Whoever reads memory that the other side has taken back dies of SIGBUS: no side can.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        else:
            with tempfile.TemporaryFile(prefix="quadriga-slab") as file:
                descriptor = os.dup(file.fileno())
        try:
            os.ftruncate(descriptor, mmap.PAGESIZE)
            return cls(descriptor)
        except OSError:
            os.close(descriptor)
            raise

    def grow(self, size: int) -> None:
        """Makes room for `size` bytes; for the segment's writer. Keeps the content."""
        if size > self.size:
            # It may be larger already, where there was no memory to map it then; and the other side may have mapped it.
            now = os.fstat(self.descriptor).st_size
            os.ftruncate(self.descriptor, max(aligned(size), 2 * self.size, now))
            self._map()

    def follow(self, size: int) -> None:
        """Maps a segment anew that its writer has grown to `size`, unless so much of it is mapped; for the reader."""
        if size > self.size:
            self._map()

    def pin_with(self, pin: "Pin") -> None:
        """Has `pin` told of the mapped memory's address and size, now and whenever it is mapped anew."""
        self._pin = pin
        self._pin_mapping()

    def close(self) -> None:
        """Gives the descriptor and the mapping up; views that are still held keep their memory."""
        self._unpin_mapping()
        self.view = memoryview(b"")
        del self._mapping
        os.close(self.descriptor)

    def _map(self) -> None:
        # The old mapping is dropped, not closed: arrays may still look at it, and it goes with the last of them.
        size = os.fstat(self.descriptor).st_size
        mapping = mmap.mmap(self.descriptor, size)
        # Only now: where there is no memory for a larger mapping the segment stays as it was.
        self._unpin_mapping()
        self.size, self._mapping, self.view = size, mapping, memoryview(mapping)
        self._pin_mapping()

    def _pin_mapping(self) -> None:
        if self._pin is not None:
            self._unpin = self._pin(ctypes.addressof(ctypes.c_char.from_buffer(self._mapping)), self.size)

    def _unpin_mapping(self) -> None:
        if self._unpin is not None:
            self._unpin()
            self._unpin = None


class SlotState(enum.Enum):
    """Who may touch a slot; the module's docstring says what each state allows."""

    FREE = enum.auto()
    FILLING = enum.auto()
    RUNNING = enum.auto()
    DRAINING = enum.auto()


class Slot:
    """The place of one batch."""

    __slots__ = ("index", "inputs", "outputs", "state")

    def __init__(self, index: int, inputs: Segment, outputs: Segment) -> None:
        self.index = index
        self.inputs = inputs
        self.outputs = outputs
        self.state = SlotState.FREE

    def gather(
        self, parts: Sequence[Sequence["bytes | memoryview[int] | None"]], shapes: Iterable[tuple[int, ...] | None]
    ) -> tuple[Region | None, ...]:
        """Copies a batch's inputs in; called while FILLING.

        Args:
            parts: Per input, the raw encodings of the requests' rows, in the order of the batch.
            shapes: Per input, the whole shape of the batch; None: the requests leave it out.

        Returns:
            Where each input lies; None for one that is left out.
        """
        regions: list[Region | None] = []
        offset = 0
        for rows, shape in zip(parts, shapes, strict=True):
            if shape is None:
                regions.append(None)
                continue
            size = sum(map(len, rows))  # type: ignore[arg-type]  # an input with a shape has data in every request
            regions.append(Region(shape, offset, size))
            offset = aligned(offset + size)
        self.inputs.grow(offset)
        view = self.inputs.view
        for rows, region in zip(parts, regions, strict=True):
            if region is None:
                continue
            at = region.offset
            for raw in rows:
                view[at : at + len(raw)] = raw  # type: ignore[arg-type,assignment]
                at += len(raw)  # type: ignore[arg-type]
        return tuple(regions)


class Slab:
    """The slots of one worker, in the server process."""

    def __init__(self, slots: int) -> None:
        """Makes that many slots with small segments.

        Raises:
            OSError: The process is short of memory or of file descriptors; nothing is left open.
        """
        segments: list[Segment] = []
        try:
            for _ in range(2 * slots):
                segments.append(Segment.create())  # noqa: PERF401 - what was made before a failure is closed
        except OSError:
            for segment in segments:
                segment.close()
            raise
        pairs = zip(segments[0::2], segments[1::2], strict=True)
        self.slots = tuple(Slot(index, *pair) for index, pair in enumerate(pairs))
        self._free = list(reversed(self.slots))

    @property
    def descriptors(self) -> list[int]:
        """What a worker needs to attach: inputs and outputs of each slot in turn."""
        return [segment.descriptor for slot in self.slots for segment in (slot.inputs, slot.outputs)]

    @property
    def free(self) -> int:
        """How many slots are FREE."""
        return len(self._free)

    def lease(self) -> Slot:
        """A FREE slot, now FILLING. Call it only where `free` is above 0."""
        slot = self._free.pop()
        slot.state = SlotState.FILLING
        return slot

    def release(self, slot: Slot) -> None:
        """Makes a slot FREE again.

        Raises:
            ValueError: It is FREE already: two batches would come to share it.
        """
        if slot.state is SlotState.FREE:
            raise ValueError(f"slot {slot.index} is free already")
        slot.state = SlotState.FREE
        self._free.append(slot)

    def reserve(self, input_bytes: int) -> None:
        """Makes room for the inputs of the largest usual batch, so that no batch pays for growing."""
        for slot in self.slots:
            slot.inputs.grow(input_bytes)

    def close(self) -> None:
        """Gives all memory up."""
        for slot in self.slots:
            slot.inputs.close()
            slot.outputs.close()


class AttachedSlab:
    """A slab as its worker sees it."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        """Takes over the descriptors that `Slab.descriptors` listed."""
        segments = [Segment(descriptor) for descriptor in descriptors]
        self._inputs = segments[0::2]
        self._outputs = segments[1::2]

    def pin_inputs(self, pin: "Pin") -> None:
        """Has `pin` told of the memory that inputs lie in; see `Segment.pin_with`."""
        for segment in self._inputs:
            segment.pin_with(pin)

    def inputs(
        self, slot: int, size: int, regions: Sequence[Region | None], specs: Sequence[TensorSpec]
    ) -> list[Array | None]:
        """Arrays over a batch's inputs; views, except for BYTES. None for an input that is left out."""
        segment = self._inputs[slot]
        segment.follow(size)
        view = segment.view.toreadonly()
        return [
            None
            if region is None
            else from_raw(spec.datatype, region.shape, view[region.offset : region.offset + region.size])
            for spec, region in zip(specs, regions, strict=True)
        ]

    def put_outputs(self, slot: int, arrays: Sequence[Array]) -> tuple[int, tuple[Region, ...]]:
        """Copies a batch's outputs in; returns the segment's size and where each lies."""
        segment = self._outputs[slot]
        regions, offset = [], 0
        encoded = [to_raw(array) if array.dtype.kind == "O" else _contiguous_bytes(array) for array in arrays]
        for array, raw in zip(arrays, encoded, strict=True):
            regions.append(Region(array.shape, offset, len(raw)))
            offset = aligned(offset + len(raw))
        segment.grow(offset)
        for raw, region in zip(encoded, regions, strict=True):
            segment.view[region.offset : region.offset + region.size] = raw
        return segment.size, tuple(regions)


def _contiguous_bytes(array: Array) -> "memoryview[int]":
    # uint8, since bfloat16 has no buffer format and memoryview.cast refuses empty shapes.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
