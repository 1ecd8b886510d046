"""A response that is on its way when the server stops arrives whole, however slowly its client reads."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest
from oip import infer_request, method, outputs_of
from own_backends import OWN_BACKENDS
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

#: The kernel keeps some megabytes of what nobody reads yet: an answer of more.
PIECE, FLOATS = 65_536, 8_000_000
#: HTTP/2 lets that many bytes go before the client asks for more; a socket that takes less leaves them to the server's.
FEW_FLOATS, SMALL_BUFFER = 12_000, 2_304
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class SlowWay(NamedTuple):
    """A proxy for one connection that hands requests on at once, and answers while it is told to.

    Attributes:
        address: Where it listens.
        reading: While it is set; else no more than one further piece of what comes from the server is taken.
    """

    address: str
    reading: threading.Event


@contextlib.contextmanager
def slow_way(address: str, buffer: int = PIECE) -> Iterator[SlowWay]:
    """One to a server, whose socket for answers takes about so many bytes."""
    host, _, port = address.rpartition(":")
    reading, always = threading.Event(), threading.Event()
    reading.set()
    always.set()

    def carry() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as client, socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            server.connect((host, int(port)))
            requests = threading.Thread(target=pump, args=(client, server, always))
            requests.start()
            pump(server, client, reading)
            requests.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        carrier = threading.Thread(target=carry)
        carrier.start()
        try:
            yield SlowWay(f"127.0.0.1:{listener.getsockname()[1]}", reading)
        finally:
            reading.set()
            listener.close()
            carrier.join()


def pump(source: socket.socket, target: socket.socket, open_: threading.Event) -> None:
    """Hands on what comes while it is open, until one of the two has gone, and ends both then."""
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
            open_.wait()
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server(start: Callable[..., RunningServer], tmp_path: Path) -> RunningServer:
    behaviour = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    write_fake(tmp_path, "held", behaviour, 'backend = "own_backends:Held"\nmax_batch_size = 1')
    return start("--repository", str(tmp_path), "--drain-seconds", "600", env=OWN_BACKENDS)


def test_a_response_on_its_way_is_waited_for(server: RunningServer, tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((1, FLOATS), np.float32)
    with slow_way(server.grpc) as way, grpc.insecure_channel(way.address, UNLIMITED) as channel:
        request = infer_request("held", x=array).SerializeToString()
        pending = method(channel, "ModelInfer").future(request, timeout=120)
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="held") == 1, "the request to be in hand")
        way.reading.clear()
        (tmp_path / "held" / "1" / "go").touch()
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in server.log, "the server to begin its stop")
        assert server.process.poll() is None
        way.reading.set()
        assert server.process.wait(60) == 0
        response = pb.ModelInferResponse.FromString(pending.result(60))
    np.testing.assert_array_equal(outputs_of(response)["x"], array)


def test_a_second_signal_gives_up_who_does_not_read(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "held" / "1" / "go").touch()
    request = infer_request("held", x=np.zeros((1, FEW_FLOATS), np.float32)).SerializeToString()
    with (
        slow_way(server.grpc, SMALL_BUFFER) as way,
        grpc.insecure_channel(way.address, UNLIMITED) as channel,
    ):
        way.reading.clear()
        pending = method(channel, "ModelInfer").future(request, timeout=120)
        answered = partial(server.metric, "quadriga_requests_total", model="held", outcome="answered")
        wait_for(lambda: answered() == 1, "the answer to be sent")
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in server.log, "the server to begin its stop")
        assert "stopped" not in server.log
        assert server.stop() == 0
        pending.cancel()
