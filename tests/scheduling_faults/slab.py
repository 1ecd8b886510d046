"""Faults of the slab alone."""

import os
from typing import Any

from quadriga.workers.slab import AttachedSlab, Segment, Slab, Slot
from scheduling_faults.table import Faults, Patch, around, nothing

FAULTS = Faults()


@FAULTS.add
def a_free_slot_can_be_released(patch: Patch) -> None:
    def release(self: Any, slot: Slot) -> None:
        slot.state = type(slot.state).FREE
        self._free.append(slot)

    patch.setattr(Slab, "release", release)


@FAULTS.add
def a_leased_slot_stays_free(patch: Patch) -> None:
    patch.setattr(Slab, "lease", lambda self: self._free[-1])


@FAULTS.add
def inputs_overlap(patch: Patch) -> None:
    patch.setattr("quadriga.workers.slab.aligned", lambda size: size // 64 * 64)


@FAULTS.add
def a_grown_segment_is_not_followed(patch: Patch) -> None:
    patch.setattr(Segment, "follow", nothing)


@FAULTS.add
def a_segment_shrinks(patch: Patch) -> None:
    def grow(self: Any, size: int) -> None:
        if size > self.size:
            os.ftruncate(self.descriptor, max(size, 2 * self.size))
            self._map()

    patch.setattr(Segment, "grow", grow)


@FAULTS.add
def a_segment_that_cannot_grow_is_lost(patch: Patch) -> None:
    def map_anew(old: Any, self: Segment) -> None:
        self.view = memoryview(b"")
        old(self)

    around(patch, Segment, "_map", map_anew)


@FAULTS.add
def the_old_mapping_stays_pinned(patch: Patch) -> None:
    patch.setattr(Segment, "_unpin_mapping", nothing)


@FAULTS.add
def a_descriptor_is_left_open(patch: Patch) -> None:
    patch.setattr(Slab, "close", lambda self: [slot.inputs.close() for slot in self.slots])


@FAULTS.add
def workers_can_write_to_inputs(patch: Patch) -> None:
    def inputs(old: Any, self: AttachedSlab, *values: Any) -> Any:
        return [array if array is None else array.copy() for array in old(self, *values)]

    around(patch, AttachedSlab, "inputs", inputs)
