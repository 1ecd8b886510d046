"""A response that is on its way when the server stops arrives whole, however slowly its client reads."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from oip import infer_request, method, outputs_of
from own_backends import OWN_BACKENDS
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

#: Of answers: 6 MB per second. The kernel keeps some megabytes of what nobody reads yet.
PIECE, PAUSE_SECONDS = 65_536, 0.01
FLOATS = 8_000_000
#: HTTP/2 lets that many bytes go before the client asks for more; a socket that takes less leaves them to the server's.
FEW_FLOATS, SMALL_BUFFER, FOR_EVER_SECONDS = 12_000, 2_304, 600.0
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextlib.contextmanager
def slow_way(address: str, buffer: int = PIECE, pause: float = PAUSE_SECONDS) -> Iterator[str]:
    """The address of a proxy for one connection that reads answers slowly, and hands requests on at once."""
    host, _, port = address.rpartition(":")
    hurry = threading.Event()

    def carry() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as client, socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            server.connect((host, int(port)))
            requests = threading.Thread(target=pump, args=(client, server, 0.0, hurry))
            requests.start()
            pump(server, client, pause, hurry)
            client.shutdown(socket.SHUT_RDWR)
            requests.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        carrier = threading.Thread(target=carry)
        carrier.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            hurry.set()
            listener.close()
            carrier.join()


def pump(source: socket.socket, target: socket.socket, pause: float, hurry: threading.Event) -> None:
    """Hands on what comes, until one of the two has gone; without pauses once there is hurry."""
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
            hurry.wait(pause)


@pytest.fixture
def server(start: Callable[..., RunningServer], tmp_path: Path) -> RunningServer:
    behaviour = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    write_fake(tmp_path, "held", behaviour, 'backend = "own_backends:Held"\nmax_batch_size = 1')
    return start("--repository", str(tmp_path), "--drain-seconds", "600", env=OWN_BACKENDS)


def test_a_response_on_its_way_is_waited_for(server: RunningServer, tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((1, FLOATS), np.float32)
    with slow_way(server.grpc) as address, grpc.insecure_channel(address, UNLIMITED) as channel:
        request = infer_request("held", x=array).SerializeToString()
        pending = method(channel, "ModelInfer").future(request, timeout=120)
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="held") == 1, "the request to be in hand")
        (tmp_path / "held" / "1" / "go").touch()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0  # some seconds, at the pace of the proxy
        response = pb.ModelInferResponse.FromString(pending.result(60))
    np.testing.assert_array_equal(outputs_of(response)["x"], array)


def test_a_second_signal_gives_up_who_does_not_read(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "held" / "1" / "go").touch()
    request = infer_request("held", x=np.zeros((1, FEW_FLOATS), np.float32)).SerializeToString()
    with (
        slow_way(server.grpc, SMALL_BUFFER, FOR_EVER_SECONDS) as address,
        grpc.insecure_channel(address, UNLIMITED) as channel,
    ):
        pending = method(channel, "ModelInfer").future(request, timeout=120)
        answered = partial(server.metric, "quadriga_requests_total", model="held", outcome="answered")
        wait_for(lambda: answered() == 1, "the answer to be sent")
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in server.log, "the server to begin its stop")
        assert "stopped" not in server.log
        assert server.stop() == 0
        pending.cancel()
