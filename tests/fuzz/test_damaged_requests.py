"""Whatever bytes a client sends, it gets a response or a status that blames it, and the server and its workers go on.

`QUADRIGA_FUZZ_CASES` damaged requests go to each transport, and as many on a stream; `make fuzz` takes 100,000 of each.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from fuzz_cases import CASES, SEED, examples
from hypothesis import given
from hypothesis import strategies as st
from message_fuzz import Mutations, messages, valid_requests
from oip import infer_request, method, outputs_of, rpc
from running_server import RunningServer, write_fake

from quadriga_proto import inference_pb2 as pb

#: Of them, in each of two tests; hypothesis takes some milliseconds to make one.
BY_STRUCTURE = CASES // 50
SECONDS = 30.0
STREAM_SECONDS = max(300, CASES // 100)
UNDER_WAY = 64
SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
UNARY = [rpc.name for rpc in SERVICE.methods if not rpc.client_streaming]
#: Every other one says that something of ours went wrong.
BLAME_THE_CLIENT = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ALREADY_EXISTS,
}


#: Rpcs that blame the server for a client's mistake, as Triton does: the file that is named is not there.
ALSO_INTERNAL = {"SystemSharedMemoryRegister", "RepositoryModelLoad"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("fuzzed")
    write_fake(repository, "echo")
    write_fake(repository, "text", {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1]}]})
    tensors = [
        {"name": "x", "datatype": "INT64", "shape": [-1, -1]},
        {"name": "y", "datatype": "UINT8", "shape": [-1]},
    ]
    write_fake(repository, "open", {"inputs": tensors, "batches": False})
    return repository


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> Iterator[RunningServer]:
    """A server whose models stay what they are."""
    running = start("--repository", str(repository), "--allow-client-shm")
    workers = {process.pid for process in running.workers()}
    yield running
    expect_health(running)
    assert workers <= {process.pid for process in running.workers()}, "a worker died"


def expect_health(running: RunningServer) -> None:
    """It answers, and says nothing of faults of its own."""
    with grpc.insecure_channel(running.grpc) as channel:
        row = np.arange(4, dtype=np.float32).reshape(1, 4)
        answer = outputs_of(rpc(channel, "ModelInfer", infer_request("echo", x=row)))
        assert np.array_equal(answer["x"], row)
    assert "Traceback" not in running.log
    assert "bug" not in running.log


def check(name: str, data: bytes, call: grpc.Call) -> str:
    """How a call ended, which has to be with a response of its rpc or a status that blames the client."""
    code = call.code()
    if code is grpc.StatusCode.OK:
        response_class = getattr(pb, SERVICE.methods_by_name[name].output_type.name)
        response_class.FromString(call.result())  # type: ignore[attr-defined]
    else:
        blamed = code in BLAME_THE_CLIENT or (name in ALSO_INTERNAL and code is grpc.StatusCode.INTERNAL)
        assert blamed, f"{name} of {data!r}: {code} {call.details()}"
        assert call.details(), f"{name} of {data!r}: {code} without a word"
    return code.name


def test_damaged_requests(server: RunningServer) -> None:
    mutations = Mutations(SEED, valid_requests())
    ends: Counter[str] = Counter()
    with grpc.insecure_channel(server.grpc) as channel:
        infer = method(channel, "ModelInfer")
        for first in range(0, CASES - 2 * BY_STRUCTURE, UNDER_WAY):
            cases = [mutations.case(index) for index in range(first, first + UNDER_WAY)]
            calls = [infer.future(case, timeout=SECONDS) for case in cases]
            ends.update(check("ModelInfer", case, call) for case, call in zip(cases, calls, strict=True))
    assert ends["OK"] > CASES // 100, f"nothing got through to the models: {ends}"
    assert ends["INVALID_ARGUMENT"] > CASES // 10, ends


def test_damaged_requests_on_a_stream_are_each_answered(server: RunningServer) -> None:
    mutations = Mutations(SEED + 1, valid_requests())
    answers: Counter[str] = Counter()
    with grpc.insecure_channel(server.grpc) as channel:
        stream = channel.stream_stream(f"/{SERVICE.full_name}/ModelStreamInfer", bytes, bytes)
        for response in stream((mutations.case(index) for index in range(CASES)), timeout=STREAM_SECONDS):
            answer = pb.ModelStreamInferResponse.FromString(response)
            answers["error" if answer.error_message else "answer"] += 1
    assert answers.total() == CASES
    assert answers["answer"] > CASES // 100, answers


def test_messages_of_any_structure_to_any_rpc(start: Callable[..., RunningServer], repository: Path) -> None:
    flags = ("--model-control", "explicit", "--load-model", "*", "--allow-client-shm")
    server = start("--repository", str(repository), *flags)
    with grpc.insecure_channel(server.grpc) as channel:
        calls = {name: method(channel, name) for name in UNARY}

        @examples(BY_STRUCTURE)
        @given(st.data())
        def send(data: st.DataObject) -> None:
            name = data.draw(st.sampled_from(["ModelInfer"] * len(UNARY) + UNARY))
            request = data.draw(messages(SERVICE.methods_by_name[name].input_type) | st.binary(max_size=60))
            encoded = request if isinstance(request, bytes) else request.SerializeToString()
            call = calls[name].future(encoded, timeout=SECONDS)
            call.exception()
            check(name, encoded, call)

        send()
        rpc(channel, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="echo"))
    expect_health(server)


def test_a_nearly_right_request_with_any_field_set(server: RunningServer) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        infer = method(channel, "ModelInfer")

        @examples(BY_STRUCTURE)
        @given(st.sampled_from(valid_requests()), messages(SERVICE.methods_by_name["ModelInfer"].input_type))
        def send(valid: bytes, extra: pb.ModelInferRequest) -> None:
            encoded = valid + extra.SerializeToString()
            call = infer.future(encoded, timeout=SECONDS)
            call.exception()
            check("ModelInfer", encoded, call)

        send()
