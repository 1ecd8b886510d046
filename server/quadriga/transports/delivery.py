"""Whether the other ends have received what was sent to them, as the kernel knows it. Server process; Linux.

A transport knows when it has handed a response to the kernel, which may hold megabytes of it for a client that reads
slowly. A connection that is closed then loses them: whatever the client says meanwhile, such as that it has room for
more, is answered by a reset, and what was not received yet is dropped. So a server that stops waits first.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

#: One line a socket: number, local address, remote address, state, and what waits to be sent and to be read.
TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOCAL, _REMOTE, _STATE, _QUEUES = 1, 2, 3, 4
#: In which a side still may send: established, and closed by the other side alone.
_SENDING: Final = frozenset({"01", "08"})
#: In a moment in which the kernel has nothing left, a transport may be about to give it the rest of a response.
_LOOKS: Final = 3
_LOOK_SECONDS: Final = 0.01


async def delivered(port: int, tables: Iterable[Path] = TABLES) -> None:
    """Waits until all that was sent so far on the connections to a local port is received; where the system tells.

    Each connection is waited for by itself: there may always be one on which something is sent, such as a refusal.
    """
    looks: Counter[str] = Counter(dict.fromkeys(await asyncio.to_thread(undelivered, port, tables), _LOOKS))
    while looks := +looks:
        await asyncio.sleep(_LOOK_SECONDS)
        left = await asyncio.to_thread(undelivered, port, tables)
        looks -= Counter({connection: 1 for connection in looks if not left.get(connection)})


def undelivered(port: int, tables: Iterable[Path] = TABLES) -> dict[str, int]:
    """By connection to a local TCP port: the bytes that were sent and that the other end has not received.

    Reads tables of the whole machine: milliseconds where it has thousands of connections. Empty where there are none.
    """
    found: dict[str, int] = {}
    for table in tables:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:  # another system, or no IPv6
            continue
        for fields in map(str.split, lines):
            if fields[_STATE] in _SENDING and int(fields[_LOCAL].rpartition(":")[2], 16) == port:
                found[f"{fields[_LOCAL]} {fields[_REMOTE]}"] = int(fields[_QUEUES].partition(":")[0], 16)
    return found
