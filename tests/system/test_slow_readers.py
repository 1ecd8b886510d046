"""A response that is on its way when the server stops arrives whole, however slowly its client reads."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
from oip import infer_request, method, outputs_of
from own_backends import OWN_BACKENDS
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

#: Of answers: 6 MB per second. The kernel keeps some megabytes of what nobody reads yet.
PIECE, PAUSE_SECONDS = 65_536, 0.01
FLOATS = 8_000_000


@contextlib.contextmanager
def slow_way(address: str) -> Iterator[str]:
    """The address of a proxy for one connection that reads answers slowly, and hands requests on at once."""
    host, _, port = address.rpartition(":")

    def carry() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as client, socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
            server.connect((host, int(port)))
            requests = threading.Thread(target=pump, args=(client, server, 0.0))
            requests.start()
            pump(server, client, PAUSE_SECONDS)
            client.shutdown(socket.SHUT_RDWR)
            requests.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        carrier = threading.Thread(target=carry)
        carrier.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.close()
            carrier.join()


def pump(source: socket.socket, target: socket.socket, pause: float) -> None:
    """Hands on what comes, until one of the two has gone."""
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
            threading.Event().wait(pause)


def test_a_response_on_its_way_is_waited_for(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    behaviour = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    folder = write_fake(tmp_path, "held", behaviour, 'backend = "own_backends:Held"\nmax_batch_size = 1')
    server = start("--repository", str(tmp_path), "--drain-seconds", "600", env=OWN_BACKENDS)
    array = np.random.default_rng(0).random((1, FLOATS), np.float32)
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with slow_way(server.grpc) as address, grpc.insecure_channel(address, unlimited) as channel:
        request = infer_request("held", x=array).SerializeToString()
        pending = method(channel, "ModelInfer").future(request, timeout=120)
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="held") == 1, "the request to be in hand")
        (folder / "1" / "go").touch()
        assert server.stop() == 0
        response = pb.ModelInferResponse.FromString(pending.result(60))
    np.testing.assert_array_equal(outputs_of(response)["x"], array)
