"""Callers that never rest, for tests of what becomes of them while something goes wrong."""

import threading
from collections import Counter

import grpc
import numpy as np
from oip import infer_request, outputs_of, rpc
from running_server import wait_for

CALL_SECONDS = 30.0


class Load:
    """Callers of one model, each with one call under way, until stopped; counts outcomes and checks every answer."""

    def __init__(self, address: str, model: str, callers: int = 4) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong = 0
        self._model = model
        self._channel = grpc.insecure_channel(address)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(seed,)) for seed in range(callers)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(CALL_SECONDS + 10)
        assert not any(thread.is_alive() for thread in self._threads), "a call hangs"
        self._channel.close()

    def wait_for_answers(self) -> None:
        """Returns after some more answers, counted from now."""
        answered = self.outcomes["OK"]
        wait_for(lambda: self.outcomes["OK"] > answered + 20, f"{self._model} to answer")

    def _call(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        while not self._stop.is_set():
            row = random.random((1, 4), np.float32)
            try:
                response = rpc(self._channel, "ModelInfer", infer_request(self._model, x=row), timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                self.outcomes[error.code().name] += 1
            else:
                self.outcomes["OK"] += 1
                self.wrong += not np.array_equal(outputs_of(response)["x"], row)
