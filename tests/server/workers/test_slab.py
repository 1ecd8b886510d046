"""Shared memory in slots: both sides in one process, over duplicated descriptors as a worker would get them."""

import gc
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadriga.specs import TensorSpec
from quadriga.workers.messages import Region
from quadriga.workers.slab import ALIGNMENT, AttachedSlab, Segment, Slab, Slot, SlotState
from quadriga_proto.codec import from_raw, to_raw

IMAGE = TensorSpec(name="image", datatype="FP32", shape=(2, 2))
NAMES = TensorSpec(name="names", datatype="BYTES", shape=(1,))


@pytest.fixture
def slab() -> Slab:
    return Slab(2)


def attach(slab: Slab) -> AttachedSlab:
    return AttachedSlab([os.dup(descriptor) for descriptor in slab.descriptors])


def inputs_of(
    worker: AttachedSlab, slot: Slot, regions: Sequence[Region | None], *specs: TensorSpec
) -> list[np.ndarray[Any, Any]]:
    """What the worker sees of a batch whose inputs are all there."""
    inputs = worker.inputs(slot.index, slot.inputs.size, regions, specs)
    assert all(array is not None for array in inputs)
    return [array for array in inputs if array is not None]


def test_slots_are_leased_and_released(slab: Slab) -> None:
    first, second = slab.lease(), slab.lease()
    assert {first.index, second.index} == {0, 1}
    assert slab.free == 0
    assert first.state is SlotState.FILLING
    slab.release(first)
    assert (slab.free, first.state) == (1, SlotState.FREE)
    with pytest.raises(ValueError, match="free already"):
        slab.release(first)
    assert slab.lease() is first


def test_no_side_can_shorten_a_segment(slab: Slab) -> None:
    segment = slab.slots[0].outputs
    segment.grow(100_000)
    with pytest.raises(PermissionError):
        os.ftruncate(segment.descriptor, 4096)
    assert os.fstat(segment.descriptor).st_size == segment.size


def test_rows_of_requests_arrive_as_one_batch(slab: Slab) -> None:
    worker = attach(slab)
    slot = slab.lease()
    rows = [np.full((n, 2, 2), n, np.float32) for n in (1, 2)]
    names = [np.array([[b"a"]], object), np.array([[b"bc"], [b""]], object)]
    regions = slot.gather([[to_raw(r) for r in rows], [to_raw(n) for n in names]], [(3, 2, 2), (3, 1)])
    assert all(region is not None and region.offset % ALIGNMENT == 0 for region in regions)
    images, texts = inputs_of(worker, slot, regions, IMAGE, NAMES)
    np.testing.assert_array_equal(images, np.concatenate(rows))
    assert texts.tolist() == [[b"a"], [b"bc"], [b""]]
    assert not images.flags.writeable


def test_an_input_that_is_left_out_takes_no_place(slab: Slab) -> None:
    worker = attach(slab)
    slot = slab.lease()
    names = np.array([[b"a"], [b"bc"]], object)
    regions = slot.gather([[None, None], [to_raw(names)]], [None, (2, 1)])
    image, texts = worker.inputs(slot.index, slot.inputs.size, regions, (IMAGE, NAMES))
    assert (regions[0], image) == (None, None)
    assert regions[1] == Region((2, 1), 0, len(to_raw(names)))
    np.testing.assert_array_equal(texts, names)


def test_inputs_are_views_not_copies(slab: Slab) -> None:
    worker = attach(slab)
    slot = slab.lease()
    regions = slot.gather([[np.zeros((1, 2, 2), np.float32).tobytes()]], [(1, 2, 2)])
    (image,) = inputs_of(worker, slot, regions, IMAGE)
    slot.gather([[np.ones((1, 2, 2), np.float32).tobytes()]], [(1, 2, 2)])
    assert image.sum() == 4


def test_outputs_come_back(slab: Slab) -> None:
    worker = attach(slab)
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    strided = np.arange(12, dtype=np.int64).reshape(2, 6)[:, ::2]
    empty = np.zeros((2, 0), np.uint8)
    words = np.array([[b"x"], [b"yz"]], object)
    size, regions = worker.put_outputs(1, [scores, strided, empty, words])
    segment = slab.slots[1].outputs
    segment.follow(size)
    got = [
        from_raw(datatype, region.shape, segment.view[region.offset : region.offset + region.size])
        for datatype, region in zip(("FP32", "INT64", "UINT8", "BYTES"), regions, strict=True)
    ]
    for expected, array in zip((scores, strided, empty, words), got, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_both_segments_grow_on_demand(slab: Slab) -> None:
    worker = attach(slab)
    slot = slab.lease()
    small = slot.inputs.size
    image = np.random.default_rng(0).random((500, 2, 2), np.float32)
    regions = slot.gather([[image.tobytes()]], [image.shape])
    assert slot.inputs.size > small
    (seen,) = inputs_of(worker, slot, regions, IMAGE)
    np.testing.assert_array_equal(seen, image)
    size, (region,) = worker.put_outputs(slot.index, [image])
    slot.outputs.follow(size)
    np.testing.assert_array_equal(from_raw("FP32", region.shape, slot.outputs.view[: region.size]), image)


def test_reserve_makes_room_beforehand(slab: Slab) -> None:
    slab.reserve(1_000_000)
    assert all(slot.inputs.size >= 1_000_000 for slot in slab.slots)


def test_growing_keeps_the_content_and_old_views() -> None:
    segment = Segment.create()
    segment.view[:3] = b"abc"
    old = segment.view
    segment.grow(10 * segment.size)
    assert bytes(segment.view[:3]) == bytes(old[:3]) == b"abc"
    segment.close()


def test_nothing_is_left_open() -> None:
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    made = Slab(3)
    made.reserve(100_000)
    made.close()
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) == before
    assert "quadriga-slab" not in Path("/proc/self/maps").read_text()


def test_inputs_are_pinned_wherever_they_are_mapped(slab: Slab) -> None:
    worker = attach(slab)
    pinned: dict[int, int] = {}

    def pin(address: int, size: int) -> Callable[[], None]:
        pinned[address] = size
        return partial(pinned.__delitem__, address)

    worker.pin_inputs(pin)
    assert len(pinned) == len(slab.slots)
    slot = slab.lease()
    regions = slot.gather([[bytes(1 << 20)]], [((1 << 20) // 16, 2, 2)])
    (array,) = inputs_of(worker, slot, regions, IMAGE)
    assert sorted(pinned.values()) == sorted([slot.inputs.size, slab.slots[1 - slot.index].inputs.size])
    assert pinned[array.ctypes.data] == slot.inputs.size


def test_a_segment_gives_its_memory_up_unpinned() -> None:
    told: list[str] = []
    segment = Segment.create()
    segment.pin_with(lambda address, size: lambda: told.append("unpinned"))
    segment.close()
    assert told == ["unpinned"]


def test_a_segment_that_cannot_grow_stays_as_it_was(slab: Slab, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = slab.lease()
    size = slot.inputs.size
    with monkeypatch.context() as short_of_memory:
        short_of_memory.setattr("quadriga.workers.slab.mmap.mmap", no_memory)
        with pytest.raises(OSError, match="no memory"):
            slot.inputs.grow(10 * size)
    assert slot.inputs.size == len(slot.inputs.view) == size
    slot.inputs.grow(10 * size)
    assert slot.inputs.size == len(slot.inputs.view) >= 10 * size


def test_a_segment_that_could_not_be_mapped_does_not_shrink_below_what_its_reader_has_mapped(
    slab: Slab, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, slot = attach(slab), slab.slots[0]
    with monkeypatch.context() as short_of_memory:
        short_of_memory.setattr("quadriga.workers.slab.mmap.mmap", no_memory)
        with pytest.raises(OSError, match="no memory"):
            slot.inputs.grow(20 * slot.inputs.size)
    for size in (2 * slot.inputs.size, 3 * slot.inputs.size):
        slot.inputs.grow(size)
        (image,) = worker.inputs(0, slot.inputs.size, [Region((size // 16, 2, 2), 0, size // 16 * 16)], [IMAGE])
        assert image is not None
        mapped = image.ctypes.data
        slot.inputs.grow(size)
        (image,) = worker.inputs(0, size, [Region((1, 2, 2), 0, 16)], [IMAGE])
        assert image is not None
        assert image.ctypes.data == mapped  # nor is it mapped anew for every batch


def test_a_slab_that_cannot_be_made_leaves_no_descriptor_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_segments() -> int:
        links = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return sum("quadriga-slab" in link for link in links)

    before = open_segments()
    real = Segment.create
    made: list[Segment] = []

    def create() -> Segment:
        if len(made) == 3:
            no_memory()
        made.append(real())
        return made[-1]

    monkeypatch.setattr(Segment, "create", create)
    with pytest.raises(OSError, match="no memory"):
        Slab(2)
    assert len(made) == 3
    assert open_segments() == before


def no_memory(*arguments: object) -> None:
    raise OSError(12, "no memory")
