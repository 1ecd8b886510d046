"""Shared memory that clients own, from which inputs are read and to which outputs are written. Server process.

A client makes a file in /dev/shm and registers a *region* of it; a request then says where in a region a tensor lies,
its *place*. Off unless `allow_client_shm` is set: whoever may register can read and write whatever in /dev/shm the
server may.

Regions are not mapped: they are read and written through their descriptor. A client may shorten its file at any time,
and touching a mapping beyond the end of its file kills the process by SIGBUS, whereas a read comes back short and says
so. For the same reason every check looks at a copy: what is checked cannot be changed by the client any more.

A request holds its regions by reference. A region that is unregistered while requests use it stays listed, and its
descriptor is closed with the last of them, however that one ends.
"""

import os
import stat
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from quadriga.errors import InvalidInput, RegionExists, RegionNotFound, RegionUnusable, Unsupported, shown
from quadriga_proto.conventions import MAX_MESSAGE_BYTES
from quadriga_proto.inference_pb2 import InferParameter

FOLDER: Final = Path("/dev/shm")  # where shm_open keeps what processes share
#: A bound on the descriptors that clients can make the server hold.
MOST_REGIONS: Final = 256
REGION_PARAMETER: Final = "shared_memory_region"
SIZE_PARAMETER: Final = "shared_memory_byte_size"
OFFSET_PARAMETER: Final = "shared_memory_offset"

_PARAMETER_TYPES: Final = {
    REGION_PARAMETER: "string_param", SIZE_PARAMETER: "int64_param", OFFSET_PARAMETER: "int64_param"
}  # fmt: skip
_OFF: Final = "client shared memory is off; start the server with --allow-client-shm"
#: Keys that Triton keeps for its Python backend's own regions.
_RESERVED_PREFIX: Final = "triton_python_backend_shm_region_"
_LONGEST_KEY: Final = 255


class ClientRegion:
    """A part of a client's file.

    Attributes:
        name: Under which it is registered.
        key: Of the file, as the client gave it.
        offset: Of the region in the file, in bytes.
        size: In bytes.
    """

    __slots__ = ("__weakref__", "_descriptor", "key", "name", "offset", "size")

    def __init__(self, name: str, key: str, offset: int, size: int) -> None:
        """Opens the file.

        Raises:
            InvalidInput: The key cannot be one, or the region does not lie within the file.
            RegionUnusable: The file cannot be opened.
        """
        self.name = name
        self.key = key
        self.offset = offset
        self.size = size
        self._descriptor = _open(key)
        weakref.finalize(self, os.close, self._descriptor)
        length = self._length()
        if size < 1 or offset + size > length:
            raise InvalidInput(
                f"region {shown(name)} has {size} bytes from byte {offset}; expected at least one, within the "
                f"{length} bytes of {shown(key)}"
            )

    def read(self, offset: int, size: int) -> bytes:
        """A copy of `size` bytes from `offset` in the region.

        Raises:
            InvalidInput: The file has become shorter than that.
        """
        parts = []
        at, end = self.offset + offset, self.offset + offset + size
        while at < end:
            part = os.pread(self._descriptor, end - at, at)
            if not part:
                raise InvalidInput(f"{self._shortened(end)}; register the region anew")
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, raw: "bytes | memoryview[int]") -> None:
        """Copies bytes to `offset` in the region.

        Raises:
            RegionUnusable: The file has become shorter than that, or takes no more.
        """
        at, end = self.offset + offset, self.offset + offset + len(raw)
        try:
            if self._length() < end:  # writing would make it longer again, with nobody to see it
                raise RegionUnusable(f"{self._shortened(end)}; register the region anew")
            while at < end:
                at += os.pwrite(self._descriptor, raw[len(raw) - (end - at) :], at)
        except OSError as error:
            raise RegionUnusable(f"region {shown(self.name)} cannot be written: {error.strerror}") from None

    def _length(self) -> int:
        return os.fstat(self._descriptor).st_size

    def _shortened(self, end: int) -> str:
        return f"region {shown(self.name)}: {shown(self.key)} has {self._length()} bytes now; expected {end}"


class Place(NamedTuple):
    """Where a tensor lies in a region.

    Attributes:
        region: Which one.
        offset: In the region, in bytes.
        size: In bytes; of an output, the most that it may have.
    """

    region: ClientRegion
    offset: int
    size: int

    def read(self) -> bytes:
        """See `ClientRegion.read`."""
        return self.region.read(self.offset, self.size)

    def write(self, raw: "bytes | memoryview[int]") -> None:
        """See `ClientRegion.write`."""
        self.region.write(self.offset, raw)


class ClientMemory:
    """The regions that clients have registered."""

    def __init__(self) -> None:
        self._registered: dict[str, ClientRegion] = {}
        self._leaving: weakref.WeakValueDictionary[str, ClientRegion] = weakref.WeakValueDictionary()

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Makes a region known to requests.

        Raises:
            InvalidInput: Name, key, offset or size cannot be.
            RegionExists: The name is taken, if only by a region that requests still use.
            RegionUnusable: The file cannot be opened, or too many regions are registered.
        """
        if not name:
            raise InvalidInput("a region of shared memory without a name; expected one")
        if name in self._registered or name in self._leaving:
            raise RegionExists(f"region {shown(name)} is registered already; unregister it first, or take another name")
        if len(self._registered) + len(self._leaving) >= MOST_REGIONS:
            raise RegionUnusable(f"{MOST_REGIONS} regions are registered, the most there may be; unregister some")
        self._registered[name] = ClientRegion(name, key, offset, size)

    def unregister(self, name: str) -> None:
        """Takes a region from new requests; all regions where the name is empty. An unknown one is no error."""
        for gone in [name] if name else list(self._registered):
            with suppress(KeyError):
                self._leaving[gone] = self._registered.pop(gone)

    def listed(self, name: str) -> list[ClientRegion]:
        """The region of that name, or all where it is empty; those too that requests still use.

        Raises:
            RegionNotFound: There is none of that name.
        """
        regions = [*self._registered.values(), *self._leaving.values()]
        found = [region for region in regions if name in ("", region.name)]
        if name and not found:
            raise RegionNotFound(self._unknown(name))
        return found

    def place(self, what: str, name: str, offset: int, size: int) -> Place:
        """A place in a region, for the tensor that `what` describes.

        Raises:
            RegionNotFound: No region of that name is registered.
            InvalidInput: The place does not lie within it.
        """
        region = self._registered.get(name)
        if region is None:
            raise RegionNotFound(f"{what}: {self._unknown(name)}")
        within = f"expected a place within the {region.size} bytes of region {shown(name)}"
        if not 0 <= offset < region.size:
            raise InvalidInput(f"{what} has {OFFSET_PARAMETER} {offset}; {within}")
        if not 0 <= size <= region.size - offset:
            raise InvalidInput(f"{what} has {SIZE_PARAMETER} {size} from byte {offset}; {within}")
        if size > MAX_MESSAGE_BYTES:
            raise InvalidInput(f"{what} has {SIZE_PARAMETER} {size}; expected at most {MAX_MESSAGE_BYTES}")
        return Place(region, offset, size)

    def _unknown(self, name: str) -> str:
        known = ", ".join(map(shown, list(self._registered)[:8])) or "none"
        return f"no region {shown(name)} is registered; there is: {known}"


def place_of(what: str, parameters: Mapping[str, InferParameter], memory: ClientMemory | None) -> Place | None:
    """Where a tensor's parameters say that it lies; None: not in shared memory.

    Args:
        what: The tensor, for messages, such as "model 'm': input 'x'".
        parameters: Of the tensor.
        memory: Where to look regions up; None: client shared memory is off.

    Raises:
        Unsupported: It is off.
        InvalidInput: The parameters are incomplete, of a wrong type, or name a place outside of the region.
        RegionNotFound: No such region is registered.
    """
    given = [key for key in _PARAMETER_TYPES if key in parameters]
    if not given:
        return None
    if memory is None:
        raise Unsupported(f"{what} has the parameter {given[0]!r}, but {_OFF}, or send tensors in the messages")
    for key in (REGION_PARAMETER, SIZE_PARAMETER):
        if key not in given:
            raise InvalidInput(f"{what} has {', '.join(given)} without {key}; expected both")
    values: dict[str, Any] = {OFFSET_PARAMETER: 0}
    for key in given:
        kind = parameters[key].WhichOneof("parameter_choice")
        if kind != _PARAMETER_TYPES[key]:
            raise InvalidInput(f"{what}: parameter {key!r} is a {kind or 'nothing'}; expected {_PARAMETER_TYPES[key]}")
        values[key] = getattr(parameters[key], kind)
    return memory.place(what, values[REGION_PARAMETER], values[OFFSET_PARAMETER], values[SIZE_PARAMETER])


def refuse_unless_on(memory: ClientMemory | None) -> ClientMemory:
    """The regions.

    Raises:
        Unsupported: Client shared memory is off.
    """
    if memory is None:
        raise Unsupported(_OFF)
    return memory


def _open(key: str) -> int:
    """A descriptor of the file that shm_open would open, and of no other."""
    name = key.removeprefix("/")
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > _LONGEST_KEY:
        raise InvalidInput(f"key {shown(key)} names no shared memory; expected a name without '/' but for the first")
    if name.startswith(_RESERVED_PREFIX):
        raise InvalidInput(f"key {shown(key)} starts with {_RESERVED_PREFIX!r}, which is reserved; take another")
    try:
        # A link would lead out of the folder; without O_NONBLOCK a pipe might keep the server waiting.
        descriptor = os.open(FOLDER / name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise RegionUnusable(f"shared memory {shown(key)} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RegionUnusable(f"shared memory {shown(key)} is no regular file")
    return descriptor
