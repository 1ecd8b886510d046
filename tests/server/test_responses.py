"""Encoded responses are what protobuf would have written, whatever changes from one to the next."""

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from quadriga.requests import Output, Timings
from quadriga.responses import ResponseEncoder, varint
from quadriga.specs import ModelSpec, TensorSpec
from quadriga_proto.inference_pb2 import ModelInferResponse

SCORES = TensorSpec(name="scores", datatype="FP32", shape=(-1,))
BOXES = TensorSpec(name="boxes", datatype="UINT8", shape=(-1, 4))
SPEC = ModelSpec(inputs=(), outputs=(SCORES, BOXES), batches=True)


def expected(id: str, wanted: tuple[int, ...], outputs: list[Output], timings: Timings | None) -> ModelInferResponse:
    response = ModelInferResponse(model_name="mö", model_version="7", id=id)
    for index in wanted:
        spec = SPEC.outputs[index]
        response.outputs.add(name=spec.name, datatype=spec.datatype, shape=outputs[index].shape)
        response.raw_output_contents.append(bytes(outputs[index].raw))
    if timings is not None:
        response.parameters["quadriga_queue_ns"].int64_param = timings.queue_ns
        response.parameters["quadriga_batch_ns"].int64_param = timings.batch_ns
        response.parameters["quadriga_compute_ns"].int64_param = timings.compute_ns
        response.parameters["quadriga_total_ns"].int64_param = timings.total_ns
    return response


@given(
    st.lists(
        st.tuples(
            st.text(max_size=200),
            st.sampled_from([(0,), (1,), (0, 1)]),
            st.integers(1, 3),
            st.integers(0, 300),
            st.none() | st.builds(Timings, *[st.integers(0, 2**62)] * 4),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_every_response_reads_as_protobuf_would_have_written_it(
    requests: list[tuple[str, tuple[int, ...], int, int, Timings | None]],
) -> None:
    encoder = ResponseEncoder("mö", "7", SPEC)
    for id, wanted, rows, width, timings in requests:
        shapes = [(rows, width), (rows, width, 4)]
        sizes = [prod(shape) * item for shape, item in zip(shapes, (4, 1), strict=True)]
        outputs = [Output(shape, memoryview(bytes(size))) for shape, size in zip(shapes, sizes, strict=True)]
        encoded = encoder.encode(id, wanted, outputs, timings)
        assert ModelInferResponse.FromString(encoded) == expected(id, wanted, outputs, timings)


def test_lengths_are_written_as_protobuf_does() -> None:
    assert [varint(value) for value in (0, 1, 127, 128, 300, 2**31 - 1)] == [
        b"\x00", b"\x01", b"\x7f", b"\x80\x01", b"\xac\x02", b"\xff\xff\xff\xff\x07",
    ]  # fmt: skip
