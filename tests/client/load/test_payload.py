"""The request that load is made of: what any server takes, of numbers or a file, or a clear line."""

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from quadriga_client import Client
from quadriga_client.errors import InputError, InvalidArgument, NotFound, ResponseError, Unavailable
from quadriga_client.load.errors import LoadError
from quadriga_client.load.payload import inputs_for, payload, probe
from quadriga_client.load.target import LoadTarget
from quadriga_client.results import ModelMetadata, TensorMetadata
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import DATATYPES, numpy_dtype


def model(**inputs: tuple[str, tuple[int, ...]]) -> ModelMetadata:
    tensors = tuple(TensorMetadata(name=name, datatype=kind, shape=shape) for name, (kind, shape) in inputs.items())
    return ModelMetadata(name="m", versions=("1",), platform="", inputs=tensors, outputs=(), properties={})


@pytest.fixture
def client(classifier: Any) -> Any:
    with Client(classifier.url) as client:
        yield client


@pytest.mark.parametrize("datatype", DATATYPES)
def test_random_inputs_are_of_the_models_datatype_and_shape(datatype: str) -> None:
    array = inputs_for(model(x=(datatype, (-1, 3, 50))), rows=2)["x"]
    assert array.shape == (2, 3, 50)
    assert array.dtype == numpy_dtype(datatype)


def test_random_values_are_such_as_models_take() -> None:
    shape = (-1, 2000)
    inputs = inputs_for(
        model(pixels=("UINT8", shape), index=("INT64", shape), image=("FP32", shape), yes=("BOOL", shape),
              text=("BYTES", (-1, 5)))
    )  # fmt: skip
    assert (inputs["pixels"].min(), inputs["pixels"].max()) == (0, 255)
    assert (inputs["index"].min(), inputs["index"].max()) == (0, 9)
    assert 0 <= inputs["image"].min() < 0.01
    assert 0.99 < inputs["image"].max() <= 1
    assert set(inputs["yes"].ravel().tolist()) == {False, True}
    assert all(word.isalpha() and len(word) == 8 for word in inputs["text"].ravel())


def test_the_same_seed_gives_the_same_numbers() -> None:
    metadata = model(x=("FP32", (-1, 8)))
    np.testing.assert_array_equal(inputs_for(metadata, seed=3)["x"], inputs_for(metadata, seed=3)["x"])
    assert (inputs_for(metadata, seed=3)["x"] != inputs_for(metadata, seed=4)["x"]).any()


@pytest.mark.parametrize(
    ("shape", "given", "expected"),
    [
        ((4,), None, (4,)),
        ((), None, ()),
        ((-1,), None, (2,)),
        ((-1, 3, -1, -1), (3, 224, 200), (2, 3, 224, 200)),
        ((-1, 3, -1, -1), (2, 3, 224, 200), (2, 3, 224, 200)),
        ((3, -1), (3, 7), (3, 7)),
        ((-1, -1), (0,), (2, 0)),
    ],
)
def test_open_sizes_are_rows_or_as_they_are_given(
    shape: tuple[int, ...], given: tuple[int, ...] | None, expected: tuple[int, ...]
) -> None:
    shapes = {} if given is None else {"x": given}
    assert inputs_for(model(x=("FP32", shape)), rows=2, shapes=shapes)["x"].shape == expected


@pytest.mark.parametrize(
    ("metadata", "shapes", "says"),
    [
        (model(x=("FP32", (-1, 3, -1, -1))), {}, r"x FP32\[-1,3,-1,-1\] leaves sizes open; .* --shape x:3,N,N"),
        (model(x=("FP32", (3, -1))), {}, "--shape x:3,N"),
        (model(x=("FP32", (-1, 3, -1))), {"x": (4, 7)}, r"--shape x:4,7 does not fit x FP32\[-1,3,-1\] and 2 rows"),
        (model(x=("FP32", (-1, 3))), {"x": (5, 3)}, "--shape x:5,3 does not fit .* and 2 rows"),
        (model(x=("FP32", (3, -1))), {"x": (7,)}, r"--shape x:7 does not fit x FP32\[3,-1\]"),
        (model(x=("FP32", (-1, -1))), {"x": (-5,)}, "--shape x:-5 does not fit"),
        (model(x=("FP32", (-1, -1))), {"y": (5,)}, "--shape is for input 'y'; model 'm' has x"),
        (model(x=("FP32", (-1, -1))), {"x": (2**29,)}, "has 4,294,967,296 bytes; a message holds 2,147,483,647"),
        (model(x=("FLOAT", (-1, 3))), {}, "input 'x': unknown datatype 'FLOAT'"),
        (model(), {}, "does not say which inputs model 'm' has; give them with --input"),
    ],
)
def test_what_no_inputs_can_be_made_of_is_told(
    metadata: ModelMetadata, shapes: dict[str, tuple[int, ...]], says: str
) -> None:
    with pytest.raises(LoadError, match=says):
        inputs_for(metadata, rows=2, shapes=shapes)


def test_the_request_is_plain_and_the_server_takes_it(client: Client, classifier: Any) -> None:
    made = payload(client, "brightness", rows=2)
    answer = probe(LoadTarget(url=classifier.url, requests=(made.request,), timeout=10, metadata=(("a", "b"),)))
    message = pb.ModelInferRequest.FromString(made.request)
    assert not message.parameters
    assert not message.outputs
    assert message.model_version == ""
    assert (made.rows, made.content, made.described) == (2, "random numbers", {"image": "FP32[2,4,4,3]"})
    assert classifier.requests[-1] == ("ModelInfer", message)
    assert classifier.metadata[-1]["a"] == "b"
    assert answer.result.model_version == "2"
    assert answer.result["scores"].shape == (2, 3)
    assert pb.ModelInferResponse.FromString(answer.response).model_name == "brightness"


def test_an_array_of_a_file_is_the_only_input_and_says_the_rows(client: Client, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((3, 4, 4, 3))
    np.save(tmp_path / "images.npy", images)
    made = payload(client, "brightness", file=tmp_path / "images.npy")
    np.testing.assert_array_equal(made.inputs["image"], images)
    # The request has the model's datatype, which is not the file's.
    (raw,) = pb.ModelInferRequest.FromString(made.request).raw_input_contents
    assert raw == images.astype(np.float32).tobytes()
    assert (made.rows, made.content, made.described) == (3, "images.npy", {"image": "FP32[3,4,4,3]"})


def test_the_arrays_of_a_file_are_the_inputs_by_name(client: Client, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", image=np.zeros((2, 4, 4, 3), np.float32), other=np.zeros(1, np.int32))
    made = payload(client, "brightness", file=tmp_path / "images.npz")
    assert made.described == {"image": "FP32[2,4,4,3]", "other": "INT32[1]"}
    assert made.rows == 2


def test_a_file_gives_the_inputs_of_a_model_that_the_server_does_not_describe(
    stand_in: Any, client: Client, tmp_path: Path
) -> None:
    stand_in.on("ModelMetadata", lambda request, context: pb.ModelMetadataResponse(name="sparse"))
    np.savez(tmp_path / "a.npz", x=np.ones((2, 2), np.uint8))
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.uint8))
    assert payload(client, "sparse", file=tmp_path / "a.npz").described == {"x": "UINT8[2,2]"}
    with pytest.raises(LoadError, match="one array, and model 'sparse' has inputs that the server does not name"):
        payload(client, "sparse", file=tmp_path / "a.npy")


def test_files_that_cannot_be_used_are_told(client: Client, tmp_path: Path) -> None:
    np.savez(tmp_path / "empty.npz")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "complex.npy", np.ones((1, 4, 4, 3), complex))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "text.npy").write_text("not an array")
    for name, says in {
        "missing.npy": "missing.npy cannot be read: No such file",
        "image.png": "from an .npy or .npz file, got .*image.png",
        "empty.npz": "empty.npz holds no arrays",
        "objects.npy": "objects.npy holds no arrays that can be read",
        "cut.npz": "cut.npz holds no arrays that can be read",
        "text.npy": "text.npy holds no arrays that can be read",
    }.items():
        with pytest.raises(LoadError, match=says):
            payload(client, "brightness", file=tmp_path / name)
    with pytest.raises(InputError, match="complex128 has no datatype"):
        payload(client, "brightness", file=tmp_path / "complex.npy")


@pytest.mark.parametrize(("rows", "says"), [(0, "at least one row, got 0"), (5, r"3 rows \(as the file has it\)")])
def test_rows_that_no_request_has_are_told(client: Client, tmp_path: Path, rows: int, says: str) -> None:
    np.save(tmp_path / "images.npy", np.zeros((3, 4, 4, 3), np.float32))
    with pytest.raises(LoadError, match=says):
        payload(client, "brightness", rows=rows, file=tmp_path / "images.npy")
    with pytest.raises(LoadError, match="leave out --shape"):
        payload(client, "brightness", shapes={"image": (4, 4, 3)}, file=tmp_path / "images.npy")


def test_rows_of_a_model_without_an_open_first_dimension_are_told(stand_in: Any, client: Client) -> None:
    tensor = pb.ModelMetadataResponse.TensorMetadata(name="x", datatype="FP32", shape=[4])
    stand_in.on("ModelMetadata", lambda request, context: pb.ModelMetadataResponse(name="m", inputs=[tensor]))
    assert payload(client, "m").rows == 1
    with pytest.raises(LoadError, match=r"1 row .*no first dimension open.*--rows asks for 3"):
        payload(client, "m", rows=3)


def test_what_the_server_refuses_is_its_own_words(stand_in: Any, client: Client, classifier: Any) -> None:
    with pytest.raises(NotFound, match="there is: brightness"):
        payload(client, "other")
    stand_in.on("ModelInfer", lambda request, context: context.abort(grpc.StatusCode.INVALID_ARGUMENT, "too dark"))
    with pytest.raises(InvalidArgument, match="too dark"):
        probe(LoadTarget(url=classifier.url, requests=(b"",), timeout=10))


def test_an_answer_that_is_none_is_told(classifier: Any) -> None:
    request = pb.ModelMetadataRequest(name="brightness").SerializeToString()
    method = "/inference.GRPCInferenceService/ModelMetadata"
    with pytest.raises(ResponseError, match="the answer is no ModelInferResponse"):
        probe(LoadTarget(url=classifier.url, requests=(request,), timeout=10, method=method))


def test_nobody_at_the_address_is_told(unused_port: int) -> None:
    with pytest.raises(Unavailable):
        probe(LoadTarget(url=f"127.0.0.1:{unused_port}", requests=(b"",), timeout=10))
    with pytest.raises(InputError, match="without a scheme"):
        probe(LoadTarget(url="http://localhost:1", requests=(b"",), timeout=10))
