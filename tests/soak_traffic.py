"""What a soak sends: all that clients do, right and wrong, to the demo models and a fake one.

The bulk comes from load generators, which are fast, and most of it goes to the fake model, which is: the server does
as much for it as for any. What generators do not do (gzip, cancellations, streams of many messages) comes from plain
clients beside them, whose connections come and go.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np
from load_runs import MS, codes
from oip import SERVICE, infer_request, method, rpc

from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.samples import Samples
from quadriga_client.load.target import LoadTarget
from quadriga_proto import inference_pb2 as pb

DEMO = ("same_onnx", "same_torchscript", "same_savedmodel", "same_keras")
FAKE = "fake"
#: Elements of the fake's input with which it raises.
RAISING = 13.0
STREAM = f"/{SERVICE}/ModelStreamInfer"
SIZES = range(1, 9)
#: How often a generator sends each of the fake model's requests, and each bad one, for one of a demo model's: of each
#: size of each demo model there is one in about 400.
FAKE_TIMES, BAD_TIMES = 32, 4
#: Shares of the generators' requests; the last is given up after `HASTY_SECONDS`, answered or not.
UNARY, STREAMED, HASTY = 0.7, 0.25, 0.05
HASTY_SECONDS = 0.01
CALLERS = 16
LOOK_NS = 50 * MS
NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
ODD = 20
ODD_PAUSE_SECONDS = 1.5


def inputs(model: str, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """Random ones."""
    random = np.random.default_rng(rows)
    if model == FAKE:
        return {"x": random.random((rows, 4), np.float32)}
    return {"image": random.random((rows, 32, 32, 3), np.float32)}


def typed(model: str, rows: int) -> pb.ModelInferRequest:
    """A request with typed contents."""
    request = infer_request(model, **inputs(model, rows))
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        tensor.contents.fp32_contents.extend(np.frombuffer(raw, np.float32).tolist())
    del request.raw_input_contents[:]
    return request


def good_requests(*models: str) -> list[bytes]:
    """Every size of each model, raw, and some typed."""
    raw = [infer_request(model, **inputs(model, rows)) for model in models for rows in SIZES]
    contents = [typed(model, rows) for model in models for rows in (1, 5)]
    return [request.SerializeToString() for request in (*raw, *contents)]


def bad_requests() -> list[bytes]:
    """One of each kind, which all are refused or fail."""
    whole = infer_request(FAKE, **inputs(FAKE, 2))
    shapes, types, names, short, surplus, missing = (
        pb.ModelInferRequest.FromString(whole.SerializeToString()) for _ in range(6)
    )
    shapes.inputs[0].shape[1] = 5
    types.inputs[0].datatype = "INT64"
    names.inputs[0].name = "nobody's"
    short.raw_input_contents[0] = short.raw_input_contents[0][:-1]
    surplus.raw_input_contents.append(b"surplus")
    del missing.inputs[:], missing.raw_input_contents[:]
    unknown = infer_request("nobody", **inputs(FAKE, 1))
    raising = infer_request(FAKE, x=np.full((1, 4), RAISING, np.float32))
    requests = (shapes, types, names, short, surplus, missing, unknown, raising)
    return [*(request.SerializeToString() for request in requests), b"\xff\xff no message"]


def mixed(*requests: bytes) -> tuple[bytes, ...]:
    """In an order of no meaning, the same each time: generators take one after the other."""
    order = np.random.default_rng(len(requests)).permutation(len(requests))
    return tuple(requests[at] for at in order)


class Part(NamedTuple):
    """Requests of one kind, with generators of their own.

    Attributes:
        name: Of the kind.
        share: Of all requests.
        fleet: The generators.
    """

    name: str
    share: float
    fleet: Fleet


class Bulk:
    """Load generators; a context manager. Their connections last as long as it does.

    Attributes:
        outcomes: Requests by kind, "unary" and so on, and status.
        bad_share: Of the requests of a kind that are refused or fail.
    """

    def __init__(self, address: str) -> None:
        good, bad = good_requests(*DEMO) + FAKE_TIMES * good_requests(FAKE), BAD_TIMES * bad_requests()
        self.bad_share = len(bad) / len(good + bad)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        everything = mixed(*good, *bad)
        self._stack = contextlib.ExitStack()
        self._parts = [
            Part(name, share, self._stack.enter_context(Fleet(target, connections=connections, processes=1)))
            for name, share, connections, target in (
                ("unary", UNARY, 4, LoadTarget(url=address, requests=everything, timeout=60.0)),
                # An answer that says what is wrong: such a stream ends well.
                ("stream", STREAMED, 2, LoadTarget(url=address, requests=everything, timeout=60.0, method=STREAM)),
                ("hasty", HASTY, 1, LoadTarget(url=address, requests=mixed(*good), timeout=HASTY_SECONDS)),
            )
        ]  # fmt: skip

    def __enter__(self) -> "Bulk":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def send(self, requests: int) -> int:
        """Sends at least so many, of all kinds at once, and waits for their ends; returns how many they were."""
        going = {part: part.fleet.start(ClosedLoop(CALLERS)) for part in self._parts}
        ended: Counter[str] = Counter()
        while going:
            until_ns = time.monotonic_ns() + LOOK_NS
            for part, run in list(going.items()):
                ended[part.name] += self._count(part.name, run.collect(until_ns))
                if ended[part.name] >= part.share * requests:
                    ended[part.name] += self._count(part.name, run.finish())
                    del going[part]
        return ended.total()

    def _count(self, name: str, samples: Samples) -> int:
        for code, count in codes(samples).items():
            self.outcomes[name, NAMES[code]] += count
        return len(samples.codes)


def send_odd_ones(address: str) -> Counter[str]:
    """What the generators do not do, each on a connection of its own; the outcomes."""
    outcomes: Counter[str] = Counter()
    requests = good_requests(*DEMO, FAKE)
    request = infer_request("same_onnx", **inputs("same_onnx", 8)).SerializeToString()
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        infer = method(channel, "ModelInfer")
        for _ in range(ODD):
            outcomes[_ended(infer.future(request, timeout=60, compression=grpc.Compression.Gzip))] += 1
            cancelled = infer.future(request, timeout=60)
            cancelled.cancel()
            outcomes[_ended(cancelled)] += 1
            outcomes[_ended(infer.future(request, timeout=0.002))] += 1
        outcomes["messages of a stream"] += len(list(_stream(channel, requests)))
        broken_off = _stream(channel, requests)
        next(broken_off)
        broken_off.cancel()
        for name in ("ServerReady", "ServerMetadata", "RepositoryIndex", "ModelStatistics"):
            rpc(channel, name, b"")
    return outcomes


def _stream(channel: grpc.Channel, requests: Sequence[bytes]) -> Any:
    return channel.stream_stream(STREAM, bytes, bytes)(iter(requests), timeout=60)


def _ended(call: "grpc.Future[bytes]") -> str:
    try:
        call.result()
    except grpc.FutureCancelledError:
        return "CANCELLED"
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error.code().name
    return "OK"


@contextlib.contextmanager
def odd_ones(address: str) -> Iterator[Counter[str]]:
    """Sends odd ones again and again beside something else, until the context ends; their outcomes."""
    outcomes: Counter[str] = Counter()
    end = threading.Event()
    failures: list[BaseException] = []

    def send() -> None:
        try:
            while not end.is_set():
                outcomes.update(send_odd_ones(address))
                end.wait(ODD_PAUSE_SECONDS)
        except BaseException as failure:
            failures.append(failure)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield outcomes
    finally:
        end.set()
        sender.join()
    if failures:
        raise failures[0]
