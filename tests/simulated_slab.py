"""A world of one slab: both sides of it, over duplicated descriptors, and batches of whose every byte is known.

What may happen is marked with `action`: all that the two processes do with a slab, in the order that a slot's state
allows, and what it is to refuse. The machine may be short of memory at any time.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np
import pytest
from state_machines import World, action

from quadriga.specs import TensorSpec
from quadriga.workers.messages import Region
from quadriga.workers.slab import ALIGNMENT, AttachedSlab, Segment, Slab, Slot, SlotState
from quadriga_proto.codec import Array, from_raw, to_raw

IMAGE: Final = TensorSpec(name="image", datatype="FP32", shape=(-1,))
NAMES: Final = TensorSpec(name="names", datatype="BYTES", shape=(1,))
#: What batches consist of; None: an input that is left out.
_KINDS: Final = ("image", "names", "image names", "none names", "image image", "none image names")


class SimulatedSlab(World):
    """See the module.

    Attributes:
        over: Whether it was closed.
    """

    SETUP: ClassVar[Mapping[str, Sequence[Any]]] = {"slots": (1, 2, 2, 3), "reserved": (0, 0, 100, 5_000)}

    def __init__(self, slots: int, reserved: int) -> None:
        self.over = False
        self._descriptors = _open_descriptors()
        self._slab = Slab(slots)
        self._slab.reserve(reserved)
        self._worker = AttachedSlab([os.dup(descriptor) for descriptor in self._slab.descriptors])
        self._pinned: dict[int, int] = {}
        self._worker.pin_inputs(self._pin)
        self._states = [SlotState.FREE] * slots
        self._specs: list[list[TensorSpec]] = [[] for _ in range(slots)]
        self._contents: list[list[Array | None]] = [[] for _ in range(slots)]
        self._sent: list[tuple[int, tuple[Region | None, ...]]] = [(0, ()) for _ in range(slots)]
        self._sizes = [0] * (4 * slots)
        self._kept: list[Array] = []
        self._made = 0
        self._short_of_memory = False

    # ---- what may happen

    @action(10)
    def lease(self) -> None:
        """The server takes a slot; where none is free that is refused."""
        if SlotState.FREE not in self._states:
            _expect_refusal(IndexError, self._slab.lease)
            return
        slot = self._slab.lease()
        assert self._states[slot.index] is SlotState.FREE, f"slot {slot.index} is {self._states[slot.index]}"
        self._states[slot.index] = SlotState.FILLING

    @action(
        12,
        which=range(3),
        kinds=_KINDS,
        rows=((1,), (1, 2), (3, 1, 1), (0, 2)),
        width=(0, 1, 3, 40, 40, 400, 3_000),
    )
    def gather(self, which: int, kinds: str, rows: Sequence[int], width: int) -> bool:
        """The server copies a batch in, and sends it off."""
        slot = self._slot(which, SlotState.FILLING)
        if slot is None:
            return False
        arrays = [
            [None if kind == "none" else self._array(kind, count, width) for count in rows] for kind in kinds.split()
        ]
        shapes = [None if parts[0] is None else (sum(rows), *parts[0].shape[1:]) for parts in arrays]
        raws = [[None if part is None else to_raw(part) for part in parts] for parts in arrays]
        if not self._find_memory(lambda: self._sent.__setitem__(slot.index, (0, slot.gather(raws, shapes)))):
            return True
        regions = self._sent[slot.index][1]
        self._sent[slot.index] = (slot.inputs.size, regions)
        self._specs[slot.index] = [NAMES if kind == "names" else IMAGE for kind in kinds.split()]
        self._contents[slot.index] = [
            None if parts[0] is None else np.concatenate([part for part in parts if part is not None])
            for parts in arrays
        ]
        _check_layout([region for region in regions if region is not None], slot.inputs.size)
        slot.state = self._states[slot.index] = SlotState.RUNNING
        return True

    @action(12, which=range(3), keep=(False, False, True))
    def read(self, which: int, keep: bool) -> bool:
        """The worker looks at a batch."""
        slot = self._slot(which, SlotState.RUNNING)
        if slot is None:
            return False
        size, regions = self._sent[slot.index]
        seen: list[Array | None] = []
        if not self._find_memory(lambda: seen.extend(self._inputs(slot.index, size, regions))):
            return True
        _check_same(seen, self._contents[slot.index])
        assert not any(array.flags.writeable for array in seen if array is not None and array.dtype.kind != "O")
        if keep:
            self._kept += [array for array in seen if array is not None]
        return True

    @action(
        10, which=range(3), kinds=("image", "names", "image names image"), rows=(0, 1, 3), width=(0, 1, 40, 400, 3_000)
    )
    def put_outputs(self, which: int, kinds: str, rows: int, width: int) -> bool:
        """The worker copies outputs in, and the server looks at them."""
        slot = self._slot(which, SlotState.RUNNING)
        if slot is None:
            return False
        arrays = [self._array(kind, rows, width) for kind in kinds.split()]
        told: list[tuple[int, tuple[Region, ...]]] = []
        if not self._find_memory(lambda: told.append(self._worker.put_outputs(slot.index, arrays))):
            return True
        ((size, regions),) = told
        slot.outputs.follow(size)
        _check_layout(regions, size)
        datatypes = ["BYTES" if kind == "names" else "FP32" for kind in kinds.split()]
        view = slot.outputs.view
        seen = [
            from_raw(datatype, region.shape, view[region.offset : region.offset + region.size])
            for datatype, region in zip(datatypes, regions, strict=True)
        ]
        _check_same(seen, arrays)
        slot.state = self._states[slot.index] = SlotState.DRAINING
        return True

    @action(10, which=range(3))
    def release(self, which: int) -> None:
        """The server frees a slot, whatever became of its batch; one that is free is refused."""
        slot = self._slab.slots[which % len(self._states)]
        if self._states[slot.index] is SlotState.FREE:
            _expect_refusal(ValueError, lambda: self._slab.release(slot))
            return
        self._slab.release(slot)
        self._states[slot.index] = SlotState.FREE

    @action(1, size=(10, 4_096, 4_097, 20_000))
    def reserve(self, size: int) -> None:
        """The server makes room, and leaves what is there."""
        if self._find_memory(lambda: self._slab.reserve(size)):
            assert all(slot.inputs.size >= size for slot in self._slab.slots)

    @action(2)
    def run_short_of_memory(self) -> None:
        """The next mapping fails."""
        self._short_of_memory = True

    @action(1, chance=range(6))
    def close(self, chance: int) -> bool:
        """Both sides go; arrays that somebody still has can still be read."""
        if chance:
            return False
        self.over = True
        self._slab.close()
        for segment in self._worker._inputs + self._worker._outputs:
            segment.close()
        while self._kept:  # with the last of them go the mappings, each of which has a descriptor of its own
            self._kept.pop().tobytes()
        assert _open_descriptors() == self._descriptors, "descriptors are left open"
        assert not self._pinned, "memory is left pinned"
        return True

    # ---- checks

    def check(self) -> None:
        """The states are those that they are to be, and nothing has shrunk."""
        if self.over:
            return
        assert [slot.state for slot in self._slab.slots] == self._states
        assert self._slab.free == self._states.count(SlotState.FREE)
        segments = self._segments()
        sizes = [segment.size for segment in segments]
        assert all(new >= old for new, old in zip(sizes, self._sizes, strict=True)), f"{self._sizes} became {sizes}"
        assert all(len(segment.view) == segment.size for segment in segments)
        # Whoever touches what was mapped and has gone is killed.
        assert all(os.fstat(segment.descriptor).st_size >= segment.size for segment in segments)
        assert sorted(self._pinned.values()) == sorted(segment.size for segment in self._worker._inputs)
        self._sizes = sizes

    def end(self) -> None:
        """Reads what is there once more, and closes."""
        if not self.over:
            self._short_of_memory = False
            for index in range(len(self._states)):
                self.read(index, keep=True)
            self.check()
            self.close(0)

    def discard(self) -> None:
        """Closes what is open."""
        if not self.over:
            for segment in self._segments():
                segment.close()

    # ---- how it is played

    def _segments(self) -> list[Segment]:
        ours = [segment for slot in self._slab.slots for segment in (slot.inputs, slot.outputs)]
        return ours + self._worker._inputs + self._worker._outputs

    def _slot(self, which: int, state: SlotState) -> Slot | None:
        found = [slot for slot in self._slab.slots if self._states[slot.index] is state]
        return found[which % len(found)] if found else None

    def _inputs(self, slot: int, size: int, regions: tuple[Region | None, ...]) -> list[Array | None]:
        return self._worker.inputs(slot, size, regions, self._specs[slot])

    def _array(self, kind: str, rows: int, width: int) -> Array:
        """Rows like no others."""
        self._made += 1
        if kind == "names":
            words = [f"{self._made} {row}".encode() * width for row in range(rows)]
            return np.array(words, object).reshape(rows, 1)
        return (np.arange(rows * width, dtype=np.float32) + 1_000 * self._made).reshape(rows, width)

    def _find_memory(self, use: Callable[[], object]) -> bool:
        """Whether there was the memory that something asked for; where there was none all is to be as before."""
        with pytest.MonkeyPatch.context() as patch:
            if self._short_of_memory:
                patch.setattr("quadriga.workers.slab.mmap.mmap", _no_memory)
            try:
                use()
            except OSError:
                assert self._short_of_memory
                self._short_of_memory = False
                return False
        return True

    def _pin(self, address: int, size: int) -> Callable[[], None]:
        assert address not in self._pinned, "pinned twice"
        self._pinned[address] = size
        return partial(self._pinned.__delitem__, address)


def _check_layout(regions: Sequence[Region], size: int) -> None:
    """Tensors lie one behind the other, aligned, and within the segment."""
    end = 0
    for region in regions:
        assert region.offset % ALIGNMENT == 0
        assert region.offset >= end
        end = region.offset + region.size
    assert end <= size


def _check_same(seen: Sequence[Array | None], expected: Sequence[Array | None]) -> None:
    for got, array in zip(seen, expected, strict=True):
        assert (got is None) == (array is None)
        if got is not None and array is not None:
            np.testing.assert_array_equal(got, array, strict=True)


def _expect_refusal(error: type[Exception], use: Callable[[], object]) -> None:
    try:
        use()
    except error:
        return
    raise AssertionError(f"expected {error.__name__}, nothing was raised")


def _open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def _no_memory(*arguments: Any) -> None:
    raise OSError(12, "no memory")
