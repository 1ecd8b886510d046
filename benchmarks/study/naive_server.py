"""A network behind gRPC as one writes it in an afternoon: a thread pool whose handler makes the framework's call.

It speaks just enough of the Open Inference Protocol to be called by the same clients. Runs in a process of its own,
started by `NaiveServer`; that prints "ready HOST:PORT" once it listens and has answered a first call by itself.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

import grpc
import numpy as np

from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import CodecError, contents_to_raw, from_raw, to_raw
from quadriga_proto.conventions import SERVICE
from study.claims import many
from study.errors import StudyError
from study.ways import Way, build

INPUT, OUTPUT = "image", "scores"
#: As in gRPC's own examples.
THREADS: Final = 10
START_SECONDS: Final = 180.0
_READY: Final = "ready "
_UNLIMITED: Final = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

Run = Callable[[Any], Any]


class NaiveServer:
    """The process, as who loads it sees it; a context manager, so that several can start at a time.

    Attributes:
        name: The framework and the call, and the threads where they are given.
        threads: As they are given.
        pid: Its process' id.
    """

    def __init__(self, way: Way, repository: Path, threads: int | None = None) -> None:
        """Starts it, on a port of the kernel's choice; `url` waits for it.

        Args:
            way: The call in its handler.
            repository: With the `same_*` models.
            threads: Of the framework; None: as many as it takes by itself.
        """
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        arguments = json.dumps([way, str(repository.absolute()), threads])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "study.naive_server", arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **way.environment(threads)},
        )
        self.pid = self._process.pid
        self.threads = threads
        self.name = f"{way.framework}: {way.call}" + (f", {many(threads, 'thread')}" if threads else "")

    def close(self) -> None:
        """Ends it; it has nothing to keep."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self) -> str:
        """HOST:PORT, once it listens.

        Raises:
            StudyError: It does not start.
        """
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        reader.start()
        try:
            line = lines.get(timeout=START_SECONDS)
        except queue.Empty:
            line = ""
        if not line:
            raise StudyError(f"the naive server of {self.name} does not start")
        return line.removeprefix(_READY).strip()

    def _read(self, lines: "queue.Queue[str]") -> None:
        """Its ready line; an empty one where it ends without."""
        lines.put(next((line for line in self._process.stdout or () if line.startswith(_READY)), ""))


def answer(run: Run, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """One request's answer.

    Raises:
        CodecError: The request is not of one tensor that the network takes.
    """
    if len(request.inputs) != 1:
        raise CodecError(f"{len(request.inputs)} inputs; expected one, {INPUT}")
    (tensor,) = request.inputs
    if request.raw_input_contents:
        array = from_raw(tensor.datatype, tensor.shape, request.raw_input_contents[0])
    else:
        array = from_raw(tensor.datatype, tensor.shape, contents_to_raw(tensor.datatype, tensor.shape, tensor.contents))
    # What was received is read-only, and PyTorch warns of that.
    scores = np.ascontiguousarray(run(array.copy()))
    response = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    response.outputs.add(name=OUTPUT, datatype="FP32", shape=scores.shape)
    response.raw_output_contents.append(to_raw(scores))
    return response


def serve(run: Run) -> tuple[grpc.Server, int]:
    """A server that has started, and its port."""

    def model_infer(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        try:
            return answer(run, request)
        except CodecError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise AssertionError("abort raises") from error

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(
            model_infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
        )
    }
    server = grpc.server(ThreadPoolExecutor(THREADS), options=_UNLIMITED)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def main(arguments: str) -> None:
    """What `NaiveServer` starts."""
    # Ctrl-C is for the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    way, repository, threads = json.loads(arguments)
    run, shape = build(Way(*way), Path(repository), threads)
    # Frameworks set up what they need in a first call, and not all of them let several threads do it at once.
    run(np.zeros((1, *shape), np.float32))
    server, port = serve(run)
    print(f"{_READY}127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1])
