"""Values between the load tester's processes: they come back as they were, and nothing else can be made of bytes."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from quadriga_client.load.packing import Packer
from quadriga_client.tls import TlsOptions


class Point(NamedTuple):
    x: int
    name: str | None


@dataclass(frozen=True, slots=True)
class Line:
    points: tuple[Point, ...]
    path: Path
    notes: dict[str, float]


@dataclass(frozen=True)
class Unknown:
    x: int


PACKER = Packer((Point, Line, TlsOptions))


@pytest.mark.parametrize(
    "value",
    [
        None, True, 2**62, -5, 0.25, "text", b"\x00\xff", (), (1, (2, b"")), {"a": ((1,),)},
        Line((Point(1, None), Point(2, "b")), Path("/a/b"), {"c": 0.5}),
        TlsOptions(root_certificates=Path("/ca"), client_key=b"key", client_chain="chain"),
    ],
)  # fmt: skip
def test_values_come_back_with_their_types(value: Any) -> None:
    back = PACKER.unpack(PACKER.pack(value))
    assert (back, type(back)) == (value, type(value))


def test_lists_and_numpys_numbers_become_plain() -> None:
    assert PACKER.unpack(PACKER.pack([np.int64(3), np.float64(0.5)])) == (3, 0.5)


@pytest.mark.parametrize("value", [Unknown(1), object(), {1, 2}, (Unknown(1),), print])
def test_what_is_not_known_is_not_packed(value: Any) -> None:
    with pytest.raises(TypeError, match="no type that goes from process to process"):
        PACKER.pack(value)


def test_bytes_make_no_other_objects() -> None:
    with pytest.raises(KeyError):
        PACKER.unpack(msgspec.msgpack.encode({"": "Popen", "args": ["true"]}))
    with pytest.raises(msgspec.DecodeError):
        PACKER.unpack(pickle.dumps(Point(1, None)))
