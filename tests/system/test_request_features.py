"""What a request may ask for beyond plain tensors: classes, inputs left out, empty tensors, open dimensions."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as tritonclient
from oip import error_of, infer_request, outputs_of, rpc
from own_backends import OWN_BACKENDS
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

SCORES = np.array([[1, 3, 3, 2], [9, 7, 8, 6]], np.float32)


@pytest.fixture(scope="module")
def repository(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> RunningServer:
    write_fake(repository, "classes", {"labels": ["cat", "dog"]}, "max_batch_size = 8")
    named = write_fake(repository, "named", config='[[output]]\nname = "x"\nlabel_filename = "names.txt"\n' + TENSOR)
    (named / "names.txt").write_text("one\ntwo\nthree\nfour\n")
    write_fake(repository, "whole", {"inputs": [tensor("x", "INT32", 2, 3)], "batches": False})
    for datatype in ("BYTES", "FP16", "BOOL", "BF16"):
        write_fake(repository, f"of_{datatype.lower()}", {"inputs": [tensor("x", datatype, 4)]})
    write_fake(repository, "long", {"inputs": [tensor("x", "INT8", -1)]})
    write_fake(
        repository, "mixed", {"inputs": [tensor("a", "FP32", 2), tensor("b", "INT64", -1), tensor("c", "BYTES")]}
    )
    write_fake(repository, "empty", {"inputs": [tensor("n", "FP32", -1), tensor("t", "BYTES", -1)]})
    optional = {"inputs": [tensor("x", "FP32", 4), tensor("y", "INT32", 1) | {"optional": True}]}
    write_fake(repository, "optional", optional)
    slow = 'backend = "own_backends:Held"\n[dynamic_batching]\nmax_queue_delay_microseconds = 0'
    write_fake(repository, "optional_held", optional, slow)
    return start("--repository", str(repository), env=OWN_BACKENDS)


TENSOR = 'data_type = "TYPE_FP32"\ndims = [4]\n'


def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options) as channel:
        yield channel


def classes_of(request: pb.ModelInferRequest, top: int = 2) -> pb.ModelInferRequest:
    """The request, asking for the top classes of "x"."""
    request.outputs.add(name="x").parameters["classification"].int64_param = top
    return request


class TestClassification:
    def test_each_row_has_its_best_with_labels(self, channel: grpc.Channel) -> None:
        for scores in (SCORES, SCORES[1:]):
            response = rpc(channel, "ModelInfer", classes_of(infer_request("classes", x=scores), 3))
            (output,) = response.outputs
            assert (output.datatype, list(output.shape)) == ("BYTES", [len(scores), 3])
            texts = outputs_of(response)["x"].tolist()
            assert texts[-1] == [b"9.000000:0:cat", b"8.000000:2", b"7.000000:1:dog"]

    def test_tritonclient_asks_for_it(self, server: RunningServer) -> None:
        tensor = tritonclient.InferInput("x", SCORES.shape, "FP32")
        tensor.set_data_from_numpy(SCORES)
        with tritonclient.InferenceServerClient(server.grpc) as client:
            result = client.infer("classes", [tensor], outputs=[tritonclient.InferRequestedOutput("x", class_count=1)])
        assert result.as_numpy("x").tolist() == [[b"3.000000:1:dog"], [b"9.000000:0:cat"]]

    def test_of_equals_the_first_comes_first(self, channel: grpc.Channel) -> None:
        response = rpc(channel, "ModelInfer", classes_of(infer_request("classes", x=SCORES[:1]), 3))
        assert outputs_of(response)["x"].tolist() == [[b"3.000000:1:dog", b"3.000000:2", b"2.000000:3"]]

    def test_labels_of_an_output_come_from_its_file(self, channel: grpc.Channel) -> None:
        response = rpc(channel, "ModelInfer", classes_of(infer_request("named", x=SCORES[:1]), 9))
        assert outputs_of(response)["x"].tolist() == [
            [b"3.000000:1:two", b"3.000000:2:three", b"2.000000:3:four", b"1.000000:0:one"]
        ]

    def test_a_model_without_rows(self, channel: grpc.Channel) -> None:
        array = np.array([[-5, 2, 0], [7, -9, 1]], np.int32)
        response = rpc(channel, "ModelInfer", classes_of(infer_request("whole", x=array), 2))
        assert list(response.outputs[0].shape) == [2]
        assert outputs_of(response)["x"].tolist() == [b"7:3", b"2:1"]

    def test_scores_come_as_they_are_unless_asked_for(self, channel: grpc.Channel) -> None:
        plain, asked = infer_request("classes", x=SCORES), classes_of(infer_request("classes", x=SCORES))
        for _ in range(2):
            np.testing.assert_array_equal(outputs_of(rpc(channel, "ModelInfer", plain))["x"], SCORES)
            assert rpc(channel, "ModelInfer", asked).outputs[0].datatype == "BYTES"

    @pytest.mark.parametrize(
        ("field", "value"), [("int64_param", 0), ("int64_param", -1), ("string_param", "3"), ("uint64_param", 3)]
    )
    def test_a_count_that_is_none(self, channel: grpc.Channel, field: str, value: Any) -> None:
        request = classes_of(infer_request("classes", x=SCORES))
        setattr(request.outputs[0].parameters["classification"], field, value)
        code, message = error_of(channel, "ModelInfer", request)
        assert (code, "'classification'" in message) == ("INVALID_ARGUMENT", True)

    @pytest.mark.parametrize("datatype", ["BYTES", "FP16", "BOOL", "BF16"])
    def test_a_datatype_that_has_no_classes(self, channel: grpc.Channel, datatype: str) -> None:
        array = np.full((1, 4), b"a", object) if datatype == "BYTES" else np.zeros((1, 4), np.float16)
        request = infer_request(f"of_{datatype.lower()}", x=array)
        if datatype in ("BOOL", "BF16"):
            request.inputs[0].datatype = datatype
            request.raw_input_contents[0] = bytes(4 if datatype == "BOOL" else 8)
        code, message = error_of(channel, "ModelInfer", classes_of(request))
        assert (code, datatype in message) == ("INVALID_ARGUMENT", True)

    def test_too_many_elements(self, channel: grpc.Channel) -> None:
        most = np.zeros((1, 1_000_000), np.int8)
        most[0, 999_999] = 1
        response = rpc(channel, "ModelInfer", classes_of(infer_request("long", x=most), 1))
        assert outputs_of(response)["x"].tolist() == [[b"1:999999"]]
        code, message = error_of(
            channel, "ModelInfer", classes_of(infer_request("long", x=np.zeros((1, 1_000_001), np.int8)))
        )
        assert (code, "1000001" in message) == ("INVALID_ARGUMENT", True)


class TestOptionalInputs:
    def test_one_is_left_out_and_given(self, channel: grpc.Channel) -> None:
        y = np.array([[5], [6]], np.int32)
        for _ in range(2):
            left_out = outputs_of(rpc(channel, "ModelInfer", infer_request("optional", x=SCORES)))
            np.testing.assert_array_equal(left_out["x"], SCORES)
            np.testing.assert_array_equal(left_out["y"], [[0], [0]])
            given = outputs_of(rpc(channel, "ModelInfer", infer_request("optional", y=y, x=SCORES)))
            np.testing.assert_array_equal(given["y"], y)

    def test_requests_with_and_without_share_no_batch(
        self, server: RunningServer, channel: grpc.Channel, repository: Path
    ) -> None:
        row = SCORES[:1]
        y = np.array([[7]], np.int32)
        requests = [
            infer_request("optional_held", x=row, y=y) if index % 3 else infer_request("optional_held", x=row)
            for index in range(12)
        ]
        with ThreadPoolExecutor(len(requests)) as pool:
            answers = [pool.submit(rpc, channel, "ModelInfer", request) for request in requests]
            # At least two, since the requests are of two kinds; the worker takes no more.
            wait_for(lambda: server.metric("quadriga_batches_in_flight", model="optional_held") == 2, "two batches")
            (repository / "optional_held" / "1" / "go").touch()
            got = [outputs_of(answer.result())["y"].tolist() for answer in answers]
        assert got == [[[7]] if index % 3 else [[0]] for index in range(12)]

    def test_the_configuration_tells_of_it(self, channel: grpc.Channel) -> None:
        config = rpc(channel, "ModelConfig", pb.ModelConfigRequest(name="optional")).config
        assert [(item.name, item.optional) for item in config.input] == [("x", False), ("y", True)]

    @pytest.mark.parametrize(
        ("inputs", "words"),
        [
            ({"y": np.zeros((1, 1), np.int32)}, ["missing 'x'", "between 1 and 2"]),
            ({}, ["missing 'x'", "got 0", "between 1 and 2"]),
            ({"x": SCORES, "z": SCORES}, ["unknown input 'z'", "between 1 and 2"]),
            ({"x": SCORES, "y": np.zeros((1, 1), np.int32)}, ["'y' has 1 rows", "2"]),
        ],
    )
    def test_others_must_be_there(
        self, channel: grpc.Channel, inputs: dict[str, np.ndarray[Any, Any]], words: list[str]
    ) -> None:
        code, message = error_of(channel, "ModelInfer", infer_request("optional", **inputs))
        assert code == "INVALID_ARGUMENT"
        assert all(word in message for word in words), message


def test_several_inputs_of_different_kinds_and_a_subset_of_outputs(channel: grpc.Channel) -> None:
    arrays = {
        "c": np.array([b"", b"\x00\xff"], dtype=object),
        "b": np.arange(6).reshape(2, 3),
        "a": np.ones((2, 2), np.float32),
    }
    request = infer_request("mixed", **arrays)
    request.id = "one-7"
    request.outputs.add(name="c")
    request.outputs.add(name="b")
    response = rpc(channel, "ModelInfer", request)
    assert response.id == "one-7"
    assert [output.name for output in response.outputs] == ["b", "c"]  # the model's order
    for name, array in outputs_of(response).items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize(("rows", "numbers", "texts"), [(1, 0, 0), (3, 0, 2), (2, 2, 0)])
def test_dimensions_of_no_size(channel: grpc.Channel, rows: int, numbers: int, texts: int) -> None:
    arrays = {"n": np.ones((rows, numbers), np.float32), "t": np.full((rows, texts), b"ab", object)}
    for _ in range(2):
        response = rpc(channel, "ModelInfer", infer_request("empty", **arrays))
        got = outputs_of(response)
        for name, array in arrays.items():
            assert got[name].shape == array.shape
            np.testing.assert_array_equal(got[name], array)


def test_requests_of_different_sizes_at_once(channel: grpc.Channel) -> None:
    arrays = [np.full((rows, columns), rows, np.float32) for rows in (1, 2) for columns in (0, 1, 5, 400)] * 4
    requests = [infer_request("empty", n=array, t=np.full((len(array), 1), b"t", object)) for array in arrays]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda request: outputs_of(rpc(channel, "ModelInfer", request)), requests))
    for array, got in zip(arrays, answers, strict=True):
        np.testing.assert_array_equal(got["n"], array)
