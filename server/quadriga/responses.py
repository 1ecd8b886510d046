"""The encoded ModelInferResponse of one model version: templates, in which only id, timings and bytes change. Pure.

Server process, hot path. Protobuf lets the fields of a message stand in any order and be joined by concatenation, so a
response is the encoded names, datatypes and shapes, which repeat, followed by what does not. Field numbers are those of
`inference.proto`.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from quadriga.requests import Output, Timings
from quadriga.specs import ModelSpec
from quadriga_proto.inference_pb2 import ModelInferResponse

_ID: Final = b"\x1a"  # field 3, length-delimited
_RAW_OUTPUT: Final = b"\x32"  # field 6, length-delimited
_MOST_TEMPLATES: Final = 1024

_Shapes = tuple[tuple[int, ...], ...]


class Encoder(Protocol):
    """What encodes a request's response: its model's, or one of its own."""

    def encode(self, id: str, wanted: tuple[int, ...], outputs: Sequence[Output], timings: Timings | None) -> bytes:
        """A response; see `ResponseEncoder.encode`."""


class ResponseEncoder:
    """Encodes the responses of one model version; an `Encoder`."""

    def __init__(self, name: str, version: str, spec: ModelSpec) -> None:
        """Prepares for a model's name, its version and its contract."""
        self._name = name
        self._version = version
        self._spec = spec
        self._templates: dict[tuple[tuple[int, ...], _Shapes], bytes] = {}

    def encode(self, id: str, wanted: tuple[int, ...], outputs: Sequence[Output], timings: Timings | None) -> bytes:
        """A response.

        Args:
            id: Of the request.
            wanted: Indices of the outputs to put in, in order.
            outputs: All outputs, in the order of the contract.
            timings: To tell as parameters; None: not asked for.
        """
        chosen = [outputs[index] for index in wanted]
        key = (wanted, tuple([output.shape for output in chosen]))
        template = self._templates.get(key)
        parts = [template if template is not None else self._template(*key)]
        if id:
            text = id.encode()
            parts += (_ID, varint(len(text)), text)
        if timings is not None:
            parts.append(_encoded(timings))
        for output in chosen:
            parts += (_RAW_OUTPUT, varint(len(output.raw)), output.raw)  # type: ignore[arg-type]  # join takes views
        return b"".join(parts)

    def _template(self, wanted: tuple[int, ...], shapes: _Shapes) -> bytes:
        response = ModelInferResponse(model_name=self._name, model_version=self._version)
        for index, shape in zip(wanted, shapes, strict=True):
            spec = self._spec.outputs[index]
            response.outputs.add(name=spec.name, datatype=spec.datatype, shape=shape)
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        template = self._templates[wanted, shapes] = response.SerializeToString()
        return template


def varint(value: int) -> bytes:
    """A length as protobuf writes it: seven bits a byte, the lowest first, the high bit set in all but the last."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def tell(response: ModelInferResponse, timings: Timings) -> None:
    """Puts timings into a response's parameters."""
    for phase, nanoseconds in timings._asdict().items():
        response.parameters[f"quadriga_{phase}"].int64_param = nanoseconds


def _encoded(timings: Timings) -> bytes:
    response = ModelInferResponse()
    tell(response, timings)
    return response.SerializeToString()
