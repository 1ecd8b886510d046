"""A hostile server's answers: our client reads them, or raises an error of its own; nothing else comes out of it."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import pytest
from fuzz_cases import CASES, SEED, chance, damaged, examples
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st
from message_fuzz import messages

from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.formats import json as compare_json
from quadriga_client.errors import QuadrigaClientError, ResponseError
from quadriga_client.load.errors import LoadError
from quadriga_client.load.formats import json as load_json
from quadriga_client.operations import Operations
from quadriga_client.results import InferResult, ModelMetadata
from quadriga_client.rpcs import METHODS, Rpc
from quadriga_proto import inference_pb2 as pb

EXAMPLES = CASES // 40
#: How many `operations` gives.
OPERATIONS = 9
WORDS = (
    "",
    "[]",
    "[" * 10_000,
    '["a"',
    "9" * 5_000,
    "\u0663",
    "-1",
    "16",
    "nan",
    '{"a": 1}',
    '["\\ud800"]',
    "1" + "0" * 400,
)


def good_metadata() -> pb.ModelMetadataResponse:
    """A classifier of images of 4 by 4."""
    metadata = pb.ModelMetadataResponse(name="m", versions=["1"], platform="p")
    metadata.inputs.add(name="x", datatype="FP32", shape=[-1, 4, 4, 3])
    metadata.outputs.add(name="y", datatype="FP32", shape=[-1, 2])
    metadata.properties.update(labels='["a", "b"]', max_batch_size="16")
    return metadata


def good_answer() -> pb.ModelInferResponse:
    answer = pb.ModelInferResponse(model_name="m", model_version="1", id="i")
    answer.outputs.add(name="y", datatype="FP32", shape=[1, 2])
    answer.raw_output_contents.append(np.array([0.25, 0.75], np.float32).tobytes())
    return answer


GOOD: dict[str, Message] = {"ModelMetadata": good_metadata(), "ModelInfer": good_answer()}


def play(steps: Generator[Rpc, Message, Any], answer: Callable[[str], Message]) -> Any:
    """What an operation returns where each of its rpcs is answered so."""
    try:
        call = next(steps)
        while True:
            call = steps.send(answer(call.method))
    except StopIteration as end:
        return end.value


def read_all(metadata: ModelMetadata) -> None:
    """All that is computed when it is asked for."""
    assert all(isinstance(label, str) for label in metadata.labels)
    assert metadata.max_batch_size is None or metadata.max_batch_size > 0


def operations() -> list[Generator[Rpc, Message, Any]]:
    """Every operation, on a client that knows nothing yet."""
    row = np.zeros((1, 4, 4, 3), np.float32)
    image = np.zeros((4, 4, 3), np.uint8)
    given: dict[str, Any] = {"version": "", "request_id": "", "parameters": None}
    client = Operations()
    return [
        client.infer("m", row, outputs=(), **given),
        client.infer("m", {"x": row}, outputs=("y",), **given),
        client.classify("m", [image, image], top_k=1, **given),
        client.metadata("", ""),
        client.metadata("m", ""),
        client.status(),
        client.statistics("m", ""),
        client.ready("m", ""),
        client.load_model("m", None, None),
    ]


def expect_own_errors(answer: Callable[[str], Message], among: Sequence[int] = range(OPERATIONS)) -> None:
    for steps in [operations()[index] for index in among]:
        try:
            found = play(steps, answer)
            if isinstance(found, ModelMetadata):
                read_all(found)
        except QuadrigaClientError as error:
            assert str(error)


@examples(EXAMPLES)
@given(st.data())
def test_answers_of_any_structure(data: st.DataObject) -> None:
    def answer(name: str) -> Message:
        if name in GOOD and data.draw(st.booleans()):
            return GOOD[name]
        response = METHODS[name].parse(b"")
        made: Message = data.draw(messages(response.DESCRIPTOR))
        if isinstance(made, pb.ModelMetadataResponse):
            for key in ("labels", "max_batch_size"):
                made.properties[key] = data.draw(st.sampled_from(WORDS))
        return made

    expect_own_errors(answer, [data.draw(st.integers(0, OPERATIONS - 1))])


def test_damaged_answers() -> None:
    encoded = {name: message.SerializeToString() for name, message in GOOD.items()}
    answered = 0
    for index in range(CASES):
        for name, content in encoded.items():
            try:
                response = METHODS[name].parse(damaged(content, chance(name, index)))
            except DecodeError:  # which gRPC turns into a status
                continue
            try:
                if isinstance(response, pb.ModelInferResponse):
                    InferResult.from_message(response)
                    answered += 1
                elif isinstance(response, pb.ModelMetadataResponse):
                    read_all(ModelMetadata.from_message(response))
            except ResponseError:
                pass
    assert answered


def test_damaged_metadata_and_answers_in_turn() -> None:
    encoded = {name: message.SerializeToString() for name, message in GOOD.items()}
    for index in range(CASES // 20):

        def answer(name: str, index: int = index) -> Message:
            for attempt in range(100):
                content = encoded.get(name, b"")
                try:
                    return METHODS[name].parse(damaged(content, chance(f"{name} {attempt}", index)) if content else b"")
                except DecodeError:
                    continue
            raise AssertionError(f"seed {SEED}: no damage of {name} can be parsed")

        expect_own_errors(answer)


@examples(EXAMPLES)
@given(st.binary(max_size=40) | st.sampled_from([text.encode() for text in WORDS if text.isascii()]))
def test_reports_of_any_kind(rest: bytes) -> None:
    """Alone, and behind the schema that they have to name."""
    for decode, error, schema in (
        (load_json.decode, LoadError, b"quadriga.load/1"),
        (compare_json.decode, CompareError, b"quadriga.compare/1"),
    ):
        for content in (rest, b'{"schema": "' + schema + b'", "x": ' + rest):
            with pytest.raises(error):
                decode(content)
