"""Regions of clients' shared memory: what can be registered, read and written, and what a client may do meanwhile."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quadriga.client_memory import MOST_REGIONS, ClientMemory, place_of
from quadriga.errors import InvalidInput, RegionExists, RegionNotFound, RegionUnusable, RequestError, Unsupported
from quadriga_proto.inference_pb2 import InferParameter


@pytest.fixture
def file(file: Path) -> Path:
    file.write_bytes(bytes(range(100)))
    return file


@pytest.fixture
def memory(file: Path) -> ClientMemory:
    """Without a region."""
    return ClientMemory()


def names(memory: ClientMemory) -> list[str]:
    return [region.name for region in memory.listed("")]


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class TestRegistration:
    @pytest.mark.parametrize("key", ["/file", "file"])
    def test_a_region_is_listed_with_what_it_is(self, memory: ClientMemory, key: str) -> None:
        memory.register("r", key, 10, 90)
        (region,) = memory.listed("r")
        assert (region.name, region.key, region.offset, region.size) == ("r", key, 10, 90)

    def test_a_name_is_taken_once(self, memory: ClientMemory) -> None:
        memory.register("r", "/file", 0, 100)
        with pytest.raises(RegionExists, match="region 'r' is registered already") as caught:
            memory.register("r", "/file", 0, 10)
        assert caught.value.code == "ALREADY_EXISTS"

    def test_one_file_may_have_several_regions(self, memory: ClientMemory) -> None:
        memory.register("a", "/file", 0, 50)
        memory.register("b", "/file", 25, 50)
        assert names(memory) == ["a", "b"]

    @pytest.mark.parametrize(
        ("offset", "size"), [(0, 101), (100, 1), (50, 51), (2**63, 1), (0, 2**64 - 1), (2**64 - 1, 2**64 - 1), (0, 0)]
    )
    def test_a_region_beyond_its_file(self, memory: ClientMemory, offset: int, size: int) -> None:
        before = descriptors()
        with pytest.raises(InvalidInput, match="within the 100 bytes of '/file'"):
            memory.register("r", "/file", offset, size)
        assert names(memory) == []
        assert descriptors() == before

    @pytest.mark.parametrize("key", ["", "/", ".", "/..", "//file", "/a/b", "a/b", "/../file", "a\0b", "k" * 256])
    def test_a_key_that_is_none(self, memory: ClientMemory, key: str) -> None:
        with pytest.raises(InvalidInput, match="names no shared memory"):
            memory.register("r", key, 0, 1)

    def test_a_reserved_key(self, memory: ClientMemory) -> None:
        with pytest.raises(InvalidInput, match="is reserved"):
            memory.register("r", "/triton_python_backend_shm_region_1", 0, 1)

    def test_no_name(self, memory: ClientMemory) -> None:
        with pytest.raises(InvalidInput, match="without a name"):
            memory.register("", "/file", 0, 1)

    def test_a_file_that_is_not_there(self, memory: ClientMemory) -> None:
        with pytest.raises(RegionUnusable, match="'/none' cannot be opened: No such file") as caught:
            memory.register("r", "/none", 0, 1)
        assert caught.value.code == "INTERNAL"

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
    def test_what_is_no_regular_file(self, memory: ClientMemory, shm: Path, make: Callable[[Path], Any]) -> None:
        make(shm / "other")
        before = descriptors()
        with pytest.raises(RegionUnusable, match=r"'/other' (cannot be opened|is no regular file)"):
            memory.register("r", "/other", 0, 1)
        assert descriptors() == before

    def test_a_link_is_not_followed(self, memory: ClientMemory, shm: Path) -> None:
        outside = shm.parent / "secret"
        outside.write_bytes(bytes(100))
        (shm / "link").symlink_to(outside)
        with pytest.raises(RegionUnusable, match="'/link' cannot be opened"):
            memory.register("r", "/link", 0, 1)

    def test_their_number_is_bounded(self, memory: ClientMemory) -> None:
        for index in range(MOST_REGIONS):
            memory.register(str(index), "/file", 0, 1)
        with pytest.raises(RegionUnusable, match="the most there may be"):
            memory.register("one more", "/file", 0, 1)
        memory.unregister("")
        memory.register("one more", "/file", 0, 1)


class TestUnregistration:
    def test_a_region_goes_and_its_descriptor_with_it(self, memory: ClientMemory) -> None:
        before = descriptors()
        memory.register("r", "/file", 0, 100)
        assert descriptors() == before + 1
        memory.unregister("r")
        assert names(memory) == []
        assert descriptors() == before

    def test_an_unknown_one_is_no_error(self, memory: ClientMemory) -> None:
        memory.unregister("r")

    def test_no_name_is_all(self, memory: ClientMemory) -> None:
        memory.register("a", "/file", 0, 50)
        memory.register("b", "/file", 50, 50)
        memory.unregister("")
        assert names(memory) == []

    def test_a_region_in_use_stays_until_its_last_request(self, memory: ClientMemory) -> None:
        memory.register("r", "/file", 5, 10)
        place = memory.place("x", "r", 0, 10)
        memory.unregister("r")
        memory.unregister("r")
        assert names(memory) == ["r"]
        with pytest.raises(RegionExists):
            memory.register("r", "/file", 0, 100)
        with pytest.raises(RegionNotFound):
            memory.place("x", "r", 0, 10)
        assert place.read() == bytes(range(5, 15))
        del place
        assert names(memory) == []
        memory.register("r", "/file", 0, 100)

    def test_an_unknown_one_is_not_listed(self, memory: ClientMemory) -> None:
        memory.register("other", "/file", 0, 1)
        with pytest.raises(RegionNotFound, match="no region 'r' is registered; there is: 'other'"):
            memory.listed("r")


class TestPlaces:
    def test_bytes_are_read_and_written_where_they_are(self, memory: ClientMemory, file: Path) -> None:
        memory.register("r", "/file", 10, 50)
        assert memory.place("x", "r", 5, 4).read() == bytes(range(15, 19))
        memory.place("x", "r", 5, 4).write(memoryview(b"ABC"))
        content = file.read_bytes()
        assert content[13:20] == b"\x0d\x0eABC\x12\x13"
        assert len(content) == 100

    def test_what_was_read_does_not_change_any_more(self, memory: ClientMemory, file: Path) -> None:
        memory.register("r", "/file", 0, 100)
        data = memory.place("x", "r", 0, 3).read()
        with file.open("r+b") as opened:
            opened.write(b"\xff" * 3)
        assert data == b"\x00\x01\x02"

    @pytest.mark.parametrize(
        ("offset", "size"), [(50, 0), (50, 1), (-1, 1), (0, 51), (49, 2), (0, -1), (2**62, 2**62), (1, 2**63 - 1)]
    )
    def test_a_place_beyond_its_region(self, memory: ClientMemory, offset: int, size: int) -> None:
        memory.register("r", "/file", 0, 50)
        with pytest.raises(InvalidInput, match=r"input 'x' has .*; expected a place within the 50 bytes of region 'r'"):
            memory.place("input 'x'", "r", offset, size)

    def test_nothing_may_be_read_from_anywhere_within(self, memory: ClientMemory) -> None:
        memory.register("r", "/file", 0, 50)
        assert memory.place("x", "r", 49, 0).read() == b""

    def test_a_file_that_was_shortened(self, memory: ClientMemory, file: Path) -> None:
        memory.register("r", "/file", 0, 100)
        place = memory.place("x", "r", 20, 40)
        os.truncate(file, 30)
        with pytest.raises(InvalidInput, match="'/file' has 30 bytes now; expected 60; register the region anew"):
            place.read()
        with pytest.raises(RegionUnusable, match="'/file' has 30 bytes now; expected 60"):
            place.write(bytes(40))
        assert file.stat().st_size == 30
        place.write(bytes(10))

    def test_a_file_that_cannot_be_written(self, memory: ClientMemory, monkeypatch: pytest.MonkeyPatch) -> None:
        memory.register("r", "/file", 0, 100)

        def no_space(*arguments: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", no_space)
        with pytest.raises(RegionUnusable, match="region 'r' cannot be written: No space left"):
            memory.place("x", "r", 0, 1).write(b"a")


def parameters(**values: int | str | float) -> dict[str, InferParameter]:
    kinds = {int: "int64_param", str: "string_param", float: "double_param"}
    return {key: InferParameter(**{kinds[type(value)]: value}) for key, value in values.items()}  # type: ignore[arg-type]


class TestParameters:
    def test_they_name_a_place(self, memory: ClientMemory) -> None:
        memory.register("r", "/file", 0, 100)
        place = place_of("x", parameters(shared_memory_region="r", shared_memory_byte_size=4, other=1), memory)
        assert place is not None
        assert (place.region.name, place.offset, place.size) == ("r", 0, 4)

    def test_others_name_none(self, memory: ClientMemory) -> None:
        assert place_of("x", parameters(content_type="np"), memory) is None
        assert place_of("x", parameters(content_type="np"), None) is None

    @pytest.mark.parametrize(
        ("values", "problem"),
        [
            ({"shared_memory_offset": 4}, "has shared_memory_offset without shared_memory_region"),
            ({"shared_memory_byte_size": 4}, "has shared_memory_byte_size without shared_memory_region"),
            ({"shared_memory_region": "r"}, "has shared_memory_region without shared_memory_byte_size"),
            ({"shared_memory_region": 4, "shared_memory_byte_size": 4}, "is a int64_param; expected string_param"),
            ({"shared_memory_region": "r", "shared_memory_byte_size": "4"}, "string_param; expected int64_param"),
            (
                {"shared_memory_region": "r", "shared_memory_byte_size": 4, "shared_memory_offset": 0.0},
                "parameter 'shared_memory_offset' is a double_param; expected int64_param",
            ),
        ],
    )
    def test_incomplete_and_mistyped_ones(self, memory: ClientMemory, values: dict[str, Any], problem: str) -> None:
        memory.register("r", "/file", 0, 100)
        with pytest.raises(InvalidInput, match=rf"^input 'x'.*{problem}"):
            place_of("input 'x'", parameters(**values), memory)

    def test_off_is_told_with_what_to_do(self) -> None:
        with pytest.raises(Unsupported, match="client shared memory is off; start the server with --allow-client-shm"):
            place_of("x", parameters(shared_memory_region="r"), None)

    def test_the_errors_are_the_callers(self) -> None:
        assert issubclass(RegionNotFound, RequestError)
        assert (RegionNotFound.code, RegionExists.code) == ("NOT_FOUND", "ALREADY_EXISTS")
