"""Callers that give up at any moment, by cancelling, by their deadline or by leaving, cost nobody else anything."""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
from oip import infer_request, method, outputs_of
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto.inference_pb2 import ModelInferResponse

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)
REQUEST = infer_request("echo", x=ROW).SerializeToString()
#: Some deadlines pass on the way, some in the queue, some while the batch runs.
TIMEOUTS = (0.001, 0.004, 0.02, 20.0)


def give_up_often(address: str, seed: int) -> None:
    choice = random.Random(seed)
    for _ in range(4):
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            grpc.channel_ready_future(channel).result(20)  # else the shortest deadlines end in the client
            call = method(channel, "ModelInfer")
            pending = [call.future(REQUEST, timeout=choice.choice(TIMEOUTS)) for _ in range(60)]
            for future in choice.sample(pending, 20):
                future.cancel()
            if choice.random() < 0.5:
                continue  # leaves with calls under way
            for future in pending:
                if not future.cancelled():
                    future.exception()


def test_nothing_is_left_of_those_who_give_up(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "echo", {"sleep_ms": 3})
    server = start("--repository", str(tmp_path), "--drain-seconds", "600")
    callers = [threading.Thread(target=give_up_often, args=(server.grpc, seed)) for seed in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    with grpc.insecure_channel(server.grpc) as channel:
        response = method(channel, "ModelInfer")(REQUEST, timeout=20)
    np.testing.assert_array_equal(outputs_of(ModelInferResponse.FromString(response))["x"], ROW)
    wait_for(lambda: server.metric("quadriga_queue_depth") == 0, "the queue to empty")
    wait_for(lambda: server.metric("quadriga_batches_in_flight") == 0, "the batches to end")
    assert server.metric("quadriga_requests_total", code="INTERNAL") == 0
    assert server.metric("quadriga_requests_total", outcome="failed") > 0
    assert "this is a bug" not in server.log
    assert server.stop() == 0  # and the drain waits for none of them
