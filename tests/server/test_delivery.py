"""What the kernel still holds for clients, read from its tables: real sockets, and tables as it writes them."""

import asyncio
import socket
from pathlib import Path

from quadriga.transports.delivery import delivered, undelivered

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def line(local: int, remote: int, state: str, unsent: int) -> str:
    return (
        f"   0: 0100007F:{local:04X} 0100007F:{remote:04X} {state} {unsent:08X}:00000007 00:00000000 00000000 0 0 1\n"
    )


def test_only_connections_to_the_port_that_can_still_send_count(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    lines = [
        line(80, 1, "01", 300),
        line(80, 2, "08", 20),
        line(80, 3, "0A", 5),
        line(81, 4, "01", 7),
        line(5, 80, "01", 9),
    ]
    table.write_text(HEAD + "".join(lines))
    assert sorted(undelivered(80, [table, tmp_path / "none"]).values()) == [20, 300]


def test_each_connection_is_waited_for_by_itself_and_later_ones_are_not(tmp_path: Path) -> None:
    table = tmp_path / "tcp"

    async def wait() -> None:
        table.write_text(HEAD + line(80, 1, "01", 300) + line(80, 2, "01", 0))
        waiting = asyncio.create_task(delivered(80, [table]))
        while not waiting.done():
            await asyncio.sleep(0.01)
            if len(looks) < 20:
                looks.append(waiting.done())
                continue
            table.write_text(HEAD + line(80, 1, "01", 0) + line(80, 3, "01", 10))

    looks: list[bool] = []
    asyncio.run(asyncio.wait_for(wait(), 30))
    assert looks == [False] * 20


def test_what_a_client_has_not_read_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            with accepted:
                accepted.setblocking(False)
                sent = 0
                while True:
                    try:
                        sent += accepted.send(bytes(1 << 16))
                    except BlockingIOError:
                        break
                (left,) = undelivered(port).values()
                assert 0 < left < sent
                while sent:
                    sent -= len(client.recv(1 << 16))
                asyncio.run(asyncio.wait_for(delivered(port), 30))
