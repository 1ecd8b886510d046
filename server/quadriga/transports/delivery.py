"""Whether the other ends have received what was sent to them, as the kernel knows it. Server process; Linux.

A transport knows when it has handed a response to the kernel, which may hold megabytes of it for a client that reads
slowly. A connection that is closed then loses them: whatever the client says meanwhile, such as that it has room for
more, is answered by a reset, and what was not received yet is dropped. So a server that stops waits first.
"""

import asyncio
import os
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from pathlib import Path
from typing import Any, Final, NamedTuple

_DESCRIPTORS: Final = Path("/proc/self/fd")
#: `struct tcp_info` of Linux's <linux/tcp.h>, as far as needed: `tcpi_state` and `tcpi_bytes_acked`.
_TCP_INFO: Final = struct.Struct("=B119xQ")
_INT: Final = struct.Struct("i")
#: In which this side still may send: established, and closed by the other side alone.
_SENDING: Final = frozenset({1, 8})
#: In a moment in which the kernel has nothing left, a transport may be about to give it the rest of a response.
_LOOKS: Final = 3
_LOOK_SECONDS: Final = 0.01
#: More of it under way is the rest of a response. Less may be refusals of calls that still come, unless they are
#: thousands a second and the client is far away.
_FEW_BYTES: Final = 16_384


class Sent(NamedTuple):
    """What was sent on a connection so far, in bytes.

    Attributes:
        received: By the other end's system, which acknowledged it.
        under_way: The rest, whether it has left this machine or not.
    """

    received: int
    under_way: int


class Connection(NamedTuple):
    """One of a transport's, which does not hand it out.

    Attributes:
        descriptor: Its number, as long as the transport has it open.
        peer: The other end's address, by which another connection under that number is told from it.
    """

    descriptor: int
    peer: Any

    def sent(self) -> Sent | None:
        """What was sent so far; None where nothing can be sent any more, or the system does not tell."""
        with borrowed(self.descriptor) as found, suppress(OSError):  # closed meanwhile
            if found is not None and found.getpeername() == self.peer:
                return sent(found)
        return None


class Delivery:
    """The wait for one connection.

    There may always be something under way on it, such as a refusal. So it is not waited for a moment in which there is
    nothing, but until what was under way at one look is received at another, some times in a row.
    """

    def __init__(self, connection: Connection) -> None:
        """Begins with what was sent so far."""
        self._connection = connection
        self._looks = _LOOKS
        self._awaited = 0
        self._await(connection.sent())

    def done(self) -> bool:
        """Looks; whether it was the last look needed."""
        now = self._connection.sent()
        if now is None:
            return True
        if now.received >= self._awaited or not now.under_way:
            self._looks -= now.under_way <= _FEW_BYTES
            self._await(now)
        return self._looks <= 0

    def _await(self, now: Sent | None) -> None:
        if now is not None:
            self._awaited = now.received + now.under_way


async def delivered(port: int) -> None:
    """Waits until all that was sent so far on the connections to a local port is received; where the system tells."""
    connections = await asyncio.to_thread(lambda: [*connections_to(port)])
    waiting = [Delivery(connection) for connection in connections]
    while waiting:
        await asyncio.sleep(_LOOK_SECONDS)
        waiting = await asyncio.to_thread(lambda pending: [each for each in pending if not each.done()], waiting)


def connections_to(port: int) -> Iterator[Connection]:
    """This process's TCP connections to a local port on which it can send; none on other systems than Linux."""
    names: list[str] = []
    with suppress(OSError):  # no descriptor is left to look with
        names = os.listdir(_DESCRIPTORS) if sys.platform == "linux" else []
    for descriptor in map(int, names):
        with borrowed(descriptor) as found, suppress(OSError):
            if found is not None and is_connection_to(port, found):
                yield Connection(descriptor, found.getpeername())


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket | None]:
    """A socket that its owner may close at any moment, and nobody else; None where the number is no socket's."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        yield None
        return
    try:
        yield found
    finally:
        found.detach()


def is_connection_to(port: int, connection: socket.socket) -> bool:
    """Whether something can be sent on it from that port."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
        return False
    return sent(connection) is not None and connection.getsockname()[1] == port


def sent(connection: socket.socket) -> Sent | None:
    """What was sent on a TCP connection; None where nothing can be sent any more, or the kernel does not tell.

    Raises:
        OSError: It is closed.
    """
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    if len(information) < _TCP_INFO.size:
        return None
    state, received = _TCP_INFO.unpack(information)
    if state not in _SENDING:
        return None
    (under_way,) = _INT.unpack(ioctl(connection, termios.TIOCOUTQ, bytes(_INT.size)))
    return Sent(received, under_way)
