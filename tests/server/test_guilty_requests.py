"""What is remembered of refused requests: by all of their bytes, for a while, and not too many."""

import time

import numpy as np
import pytest
from scheduler_harness import Caller

from quadriga.guilty_requests import MEMORY_NS, MOST, GuiltyRequests
from quadriga.requests import Request


def request(*parts: bytes | None, rows: int = 1) -> Request:
    shapes = tuple(None if part is None else (rows, len(part) // rows) for part in parts)
    return Request(Caller(), parts, shapes, shapes, rows, time.monotonic_ns(), 0)


def knowing(*guilty: Request) -> GuiltyRequests:
    table = GuiltyRequests()
    for one in guilty:
        for _ in range(2):
            table.remember(one, 0)
    return table


def test_it_takes_two_offences_of_the_same_bytes() -> None:
    table = GuiltyRequests()
    for known in (False, False, True):
        assert table.knows(request(b"poison"), 0) is known
        table.remember(request(b"poison"), 0)


@pytest.mark.parametrize("place", [0, 100, 199])
def test_one_byte_makes_another_request(place: int) -> None:
    content = bytearray(200)
    table = knowing(request(bytes(content)))
    assert table.knows(request(bytes(content)), 1)
    content[place] = 1
    assert not table.knows(request(bytes(content)), 1)


def test_shapes_and_inputs_that_are_left_out_count() -> None:
    table = knowing(request(b"poison", None))
    assert table.knows(request(b"poison", None), 1)
    assert not table.knows(request(b"poison", b""), 1)
    assert not table.knows(request(b"poison", None, rows=2), 1)


def test_views_are_read_like_bytes() -> None:
    content = np.arange(300, dtype=np.uint8)
    assert knowing(request(content.tobytes())).knows(request(memoryview(content).cast("B")), 1)  # type: ignore[arg-type]


def test_an_offence_is_forgotten_after_a_while() -> None:
    table = knowing(request(b"poison"))
    assert table.knows(request(b"poison"), MEMORY_NS - 1)
    assert not table.knows(request(b"poison"), MEMORY_NS)
    assert not table


def test_the_oldest_make_room() -> None:
    table = knowing(*(request(number.to_bytes(4, "big")) for number in range(MOST + 1)))
    assert len(table) == MOST
    assert not table.knows(request(bytes(4)), 1)
    assert table.knows(request(MOST.to_bytes(4, "big")), 1)
