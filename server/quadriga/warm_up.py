"""Inputs on which a model is run before it is ready, as its configuration's `model_warmup` has them.

Plain values; read and checked in the server process, which sends them to the workers that run them.
"""

from typing import Final, Literal, get_args

import msgspec

from quadriga.errors import ConfigError
from quadriga.limits import Limits, check_choice, check_inside, check_range

#: In a model's folder, where the files of `WarmUpInput.file` lie.
WARM_UP_FOLDER: Final = "warmup"

Content = Literal["zeros", "random", "file"]

_BATCH_SIZES: Final[Limits] = (1, 65_536)
_COUNTS: Final[Limits] = (1, 100_000)


class WarmUpInput(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a warm-up.

    Attributes:
        datatype: Of the protocol: FP32, INT64, BYTES and so on.
        shape: One row's shape where the model batches, else the whole shape; no dimension is open.
        content: "random" is uniform: from 0 up to 1 for floats, over the whole range for integers, short texts for
            BYTES; "zeros" is empty texts for BYTES.
        file: For "file", its path in `WARM_UP_FOLDER`: the raw encoding of all rows.
    """

    datatype: str
    shape: tuple[int, ...]
    content: Content
    file: str = ""

    def __post_init__(self) -> None:
        check_choice("content", self.content, get_args(Content))
        if any(size < 1 for size in self.shape):
            raise ConfigError(f"dims is {list(self.shape)}; expected sizes from 1, and none open")
        if self.content == "file":
            check_inside("input_data_file", self.file, f"the model's folder {WARM_UP_FOLDER!r}")


class WarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """One batch to be run.

    Attributes:
        name: For messages.
        batch_size: In rows; 1 where the model does not batch.
        inputs: By input name.
        count: How often it is run.
    """

    name: str
    batch_size: int
    inputs: dict[str, WarmUpInput]
    count: int = 1

    def __post_init__(self) -> None:
        check_range("batch_size", self.batch_size, _BATCH_SIZES)
        check_range("count", self.count, _COUNTS)

    def check_rows(self, max_batch_size: int) -> None:
        """Makes sure that the model takes as many rows; a `max_batch_size` of 0 says that it does not batch.

        Raises:
            ConfigError: It does not.
        """
        if self.batch_size > max(max_batch_size, 1):
            expected = f"1 to max_batch_size, {max_batch_size}" if max_batch_size else "1: the model does not batch"
            raise ConfigError(f"batch_size is {self.batch_size}; expected {expected}")
