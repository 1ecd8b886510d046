"""Values between the load tester's processes, as MessagePack: plain data, and types that both sides know. Pure.

What is read can make objects of those types alone, and runs no code, as a pickle would.
"""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

#: The key under which a value's type stands, beside its fields; no field can be called so.
_TYPE: Final = ""
_PATH: Final = "Path"


class Packer:
    """Packs and unpacks values made of dataclasses and NamedTuples of the given types.

    Beside those there may be paths, tuples, lists, dicts with keys of text, NumPy's numbers, and what MessagePack has:
    None, booleans, integers of 64 bits, floats, texts and bytes. Sequences come back as tuples.
    """

    def __init__(self, types: Iterable[type]) -> None:
        """Knows these types, by their names."""
        self._types: dict[str, Any] = {known.__name__: known for known in types}
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder()

    def pack(self, value: object) -> bytes:
        """A value's bytes.

        Raises:
            TypeError: It holds a type that is not known.
        """
        return self._encoder.encode(self._plain(value))

    def unpack(self, packed: bytes) -> Any:  # noqa: ANN401 - whoever reads it looks at its type
        """The value of some bytes.

        Raises:
            msgspec.DecodeError: They are no MessagePack.
            KeyError: They name a type that is not known.
        """
        return self._value(self._decoder.decode(packed))

    def _plain(self, value: Any) -> Any:  # noqa: ANN401 - any tree of values
        name = type(value).__name__
        if self._types.get(name) is type(value):
            names = [field.name for field in fields(value)] if is_dataclass(value) else value._fields
            return {_TYPE: name, **{each: self._plain(getattr(value, each)) for each in names}}
        if isinstance(value, Path):
            return {_TYPE: _PATH, _PATH: str(value)}
        if type(value) in (tuple, list):
            return [self._plain(each) for each in value]
        if type(value) is dict:
            return {key: self._plain(each) for key, each in value.items()}
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        raise TypeError(f"{type(value).__module__}.{name} is no type that goes from process to process here")

    def _value(self, plain: Any) -> Any:  # noqa: ANN401 - any tree of values
        if isinstance(plain, list):
            return tuple(map(self._value, plain))
        if not isinstance(plain, dict):
            return plain
        if _TYPE not in plain:
            return {key: self._value(each) for key, each in plain.items()}
        name = plain.pop(_TYPE)
        if name == _PATH:
            return Path(plain[_PATH])
        return self._types[name](**{key: self._value(each) for key, each in plain.items()})
