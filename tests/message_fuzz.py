"""Requests that no honest client sends: messages with any fields set to anything, and bytes that are hardly messages.

Two ways. `messages` is a hypothesis strategy over the structure of a message, and finds the smallest one that fails.
`Mutations` is plain and fast: from a seed it makes a request, right or nearly so, and damages its bytes; the seed and
the number of the case give it again.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from fuzz_cases import shift
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from oip import infer_request

from quadriga_proto import inference_pb2 as pb

#: What is nearly right goes further than what is plainly wrong.
WORDS: Final = (
    "", "echo", "text", "open", "x", "y", "1", "01", "0", "-1", "99999999999999999999", "FP32", "BYTES", "INT64",
    "BF16", "STRING", "timeout", "priority", "sequence_id", "triton_x", "classification", "shared_memory_region",
    "shared_memory_byte_size", "shared_memory_offset", "../etc", "/dev/shm", "a" * 300, "\x00", "\u00e9\U0001f600",
    "log_verbose_level", "trace_level", "config", "file:1/model.onnx",
)  # fmt: skip
NUMBERS: Final = (0, 1, -1, 2, 3, 4, 5, 16, 17, 2**31 - 1, -(2**31), 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
_LIMITS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-1, 20),
}
_DEEPEST: Final = 4


def number(kind: int) -> st.SearchStrategy[Any]:
    """Values of a numeric field."""
    low, high = _LIMITS[kind]
    return st.sampled_from([each for each in NUMBERS if low <= each <= high]) | st.integers(low, high)


def value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """Values of a field that is not repeated."""
    if field.message_type is not None:
        return messages(field.message_type, depth + 1)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.binary(max_size=40) if field.type == FieldDescriptor.TYPE_BYTES else st.sampled_from(WORDS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return st.floats(width=32)
    return number(field.cpp_type)


def messages(descriptor: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Messages with any of their fields set."""
    fields = [field for field in descriptor.fields if depth < _DEEPEST or field.message_type is None]

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message: Message = GetMessageClass(descriptor)()
        for field in draw(st.lists(st.sampled_from(fields), unique=True)) if fields else ():
            _set(message, field, lambda field=field: draw(value(field, depth)), draw(st.integers(1, 3)))  # type: ignore[misc]
        return message

    return build()


def _set(message: Message, field: FieldDescriptor, draw: Callable[[], Any], count: int) -> None:
    target = getattr(message, field.name)
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        for _ in range(count):
            made = draw()
            if entry.fields_by_name["value"].message_type is not None:
                target[made.key].CopyFrom(made.value)
            else:
                target[made.key] = made.value
    elif field.is_repeated:
        target.extend([draw() for _ in range(count)])
    elif entry is not None:
        target.CopyFrom(draw())
    else:
        setattr(message, field.name, draw())


class Mutations:
    """Damaged requests, the same for the same seed."""

    def __init__(self, seed: int, valid: Sequence[bytes]) -> None:
        """Damages what `valid` holds."""
        self._seed = seed
        self._valid = valid

    def case(self, index: int) -> bytes:
        """One of them."""
        chance = random.Random(f"{self._seed} {index}")
        kind = chance.random()
        if kind < 0.1:
            return chance.randbytes(chance.randrange(200))
        data = bytearray(chance.choice(self._valid))
        for _ in range(chance.choice((1, 1, 2, 5))):
            self._damage(data, chance)
        return bytes(data)

    def _damage(self, data: bytearray, chance: random.Random) -> None:
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 | 1 | 2 | 3 as how:
                shift(data, at, how, chance, longest=9, longest_copy=40)
            case 4 if at < len(data):
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1 << chance.randrange(8)))
            case _:
                data += chance.choice(self._valid)


def valid_requests() -> list[bytes]:
    """Requests that the models `echo`, `text` and `open` of the fuzzed server answer."""
    words = np.array([[b"a", b""]], dtype=object)
    requests = [
        infer_request("echo", x=np.arange(8, dtype=np.float32).reshape(2, 4)),
        infer_request("text", x=words),
        infer_request("open", x=np.zeros((2, 3), np.int64), y=np.zeros((0,), np.uint8)),
    ]
    typed = pb.ModelInferRequest(model_name="echo", model_version="1", id="an id")
    typed.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 2, 3, 4])
    typed.outputs.add(name="x")
    typed.parameters["timeout"].int64_param = 10**9
    typed.parameters["quadriga_timings"].bool_param = True
    return [request.SerializeToString() for request in (*requests, typed)]
