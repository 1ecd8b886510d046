"""From images of any kind to the tensors that a model takes; runs in the user's process.

Every image becomes rows x columns x channels in float32 from 0 to 1, then takes the model's channels, size and layout.
Pillow decodes and resizes, and is imported only then.
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from quadriga_client.errors import ImageError, InputError, MissingPackageError
from quadriga_client.results import ModelMetadata
from quadriga_proto.codec import Array, numpy_dtype
from quadriga_proto.conventions import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

#: A file, an encoded image (PNG, JPEG, ...), pixels, or Pillow's image. Pixels are rows x columns or rows x columns x
#: channels; integers from 0 to 255 as uint8, or floats from 0 to 1.
Image: TypeAlias = "str | os.PathLike[str] | bytes | Array | PillowImage"
#: One or several; an array of four dimensions is several.
Images: TypeAlias = "Image | Iterable[Image]"
Pixels = npt.NDArray[np.float32]

#: Gray, colour, colour with transparency.
CHANNELS: Final = (1, 3, 4)
_ANY: Final = -1
#: Brightness of red, green and blue (ITU-R 601), which is also Pillow's way to gray.
_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_BYTE_MAX: Final = 255
_WORD_MAX: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """What a model takes as its image.

    Attributes:
        name: Of the input.
        datatype: FP32, FP16 or FP64, which take 0 to 1; or UINT8, which takes 0 to 255.
        height: In pixels; -1 takes any.
        width: Likewise.
        channels: 1, 3 or 4.
        channels_first: NCHW instead of NHWC.
        batches: Whether the input has a batch dimension.
        limit: The most images of one request; None is unknown.
    """

    name: str
    datatype: str
    height: int
    width: int
    channels: int
    channels_first: bool
    batches: bool
    limit: int | None

    @classmethod
    def of(cls, metadata: ModelMetadata) -> "ImageInput":
        """Read from a model's only input: [N,H,W,C], [N,C,H,W], or without N for models that take one image.

        The dimension that is 1, 3 or 4 is that of the channels; where the last and the first both are, the last.

        Raises:
            InputError: The model does not take one image tensor.
        """
        tensor = metadata.inputs[0] if len(metadata.inputs) == 1 else None
        described = ", ".join(map(str, metadata.inputs)) or "no described inputs"
        refusal = InputError(f"model {metadata.name!r} takes {described}, not one image tensor; use infer")
        if (
            tensor is None
            or len(tensor.shape) not in (3, 4)
            or tensor.datatype not in ("FP16", "FP32", "FP64", "UINT8")
        ):
            raise refusal
        batches = len(tensor.shape) == 4
        first, middle, last = tensor.shape[-3:]
        if last not in CHANNELS and first not in CHANNELS:
            raise refusal
        channels_first = last not in CHANNELS
        rows = tensor.shape[0] if batches else 1
        if any(size < 1 and size != _ANY for size in tensor.shape) or _pixel_bytes(tensor.shape) > MAX_MESSAGE_BYTES:
            raise refusal  # no image can have that shape, or none that could be sent
        return cls(
            name=tensor.name,
            datatype=tensor.datatype,
            height=middle if channels_first else first,
            width=last if channels_first else middle,
            channels=first if channels_first else last,
            channels_first=channels_first,
            batches=batches,
            limit=metadata.max_batch_size if rows == _ANY else rows,
        )

    def prepare(self, image: "Image") -> Array:
        """One image as the model takes it, without the batch dimension.

        Raises:
            ImageError: It is missing, cannot be read or holds something else than pixels.
            MissingPackageError: It has to be decoded or resized, and Pillow is not installed.
        """
        pixels = with_channels(read_pixels(image), self.channels)
        height = pixels.shape[0] if self.height == _ANY else self.height
        width = pixels.shape[1] if self.width == _ANY else self.width
        pixels = resize(pixels, height, width)
        if self.channels_first:
            pixels = pixels.transpose(2, 0, 1)
        if self.datatype == "UINT8":
            return np.rint(pixels * _BYTE_MAX).astype(np.uint8)
        return pixels.astype(numpy_dtype(self.datatype), copy=False)

    def batches_of(self, images: "Iterable[Image]") -> Iterator[tuple[int, Array]]:
        """The images as the tensors of requests, in order: how many images each holds, and the tensor.

        A request takes images up to the model's limit, and of one shape, which matters to models of any size.

        Raises:
            ImageError: As `prepare` says.
            MissingPackageError: Likewise.
        """
        pending: list[Array] = []
        for image in images:
            tensor = self.prepare(image)
            if pending and (len(pending) == self.limit or tensor.shape != pending[0].shape):
                yield len(pending), self._joined(pending)
                pending = []
            pending.append(tensor)
        if pending:
            yield len(pending), self._joined(pending)

    def _joined(self, tensors: Sequence[Array]) -> Array:
        return np.stack(tensors) if self.batches else tensors[0]


def as_sequence(images: "Images") -> "Sequence[Image]":
    """Several images in a list, and one image in a list of one."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | os.PathLike | bytes) or not isinstance(images, Iterable):
        return [images]
    return list(images)


def read_pixels(image: "Image") -> Pixels:
    """An image as `[rows, columns, channels]` from 0 to 1.

    Raises:
        ImageError: It is missing, cannot be read or holds something else than pixels.
        MissingPackageError: It has to be decoded, and Pillow is not installed.
    """
    if isinstance(image, np.ndarray):
        return _array_pixels(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return _decode(bytes(image), f"the {len(image)} bytes given")
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        try:
            return _decode(path.read_bytes(), str(path))
        except FileNotFoundError:
            raise ImageError(f"no such image: {path}") from None
        except OSError as error:
            raise ImageError(f"cannot read the image {path}: {error.strerror or error}") from error
    if hasattr(image, "getbands") and hasattr(image, "convert"):
        return _pillow_pixels(image, "the image given")
    raise ImageError(f"an image is a path, bytes, a numpy array or Pillow's Image, got {type(image).__name__}")


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """The image with 1, 3 or 4 channels: gray by brightness, colour by repetition, transparency dropped or none."""
    given = pixels.shape[2]
    if given == channels:
        return pixels
    colour = pixels[:, :, :3] if given > 1 else np.repeat(pixels, 3, axis=2)
    if channels == 1:
        return (colour @ _LUMA)[:, :, np.newaxis]
    if channels == 3:
        return colour
    return np.concatenate([colour, np.ones_like(colour[:, :, :1])], axis=2)


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """The image in another size, bilinear; where it shrinks, each pixel is a weighted mean of all that it covers.

    Raises:
        MissingPackageError: The size differs, and Pillow is not installed.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    pillow = _pillow()
    size, bilinear = (width, height), pillow.Resampling.BILINEAR
    planes = [pillow.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(pixels, 2, 0)]
    return np.stack([np.asarray(plane.resize(size, bilinear), dtype=np.float32) for plane in planes], axis=2)


def _pixel_bytes(shape: tuple[int, ...]) -> int:
    """Of one image as floats; open dimensions count as 1."""
    return 4 * prod(max(size, 1) for size in shape[-3:])


def _array_pixels(array: Array) -> Pixels:
    pixels = array[:, :, np.newaxis] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in CHANNELS or not pixels.size:
        raise ImageError(
            f"an image is an array [rows, columns] or [rows, columns, channels] with 1, 3 or 4 channels,"
            f" got shape {list(array.shape)}"
        )
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(_BYTE_MAX)
    if pixels.dtype.kind != "f":
        raise ImageError(f"an image is an array of uint8 (0 to 255) or of floats (0 to 1), got {pixels.dtype}")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        raise ImageError(f"an image of floats has values from 0 to 1, got {low:g} to {high:g}; divide by its maximum")
    return pixels.astype(np.float32, copy=False)


def _decode(data: bytes, name: str) -> Pixels:
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(data)) as image:
            return _pillow_pixels(image, name)
    # What Pillow raises for files of no image format, cut off, damaged or far too large.
    except (OSError, SyntaxError, ValueError, EOFError, pillow.DecompressionBombError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name} is not an image that can be read: {_reason(error)}") from error


def _pillow_pixels(image: "PillowImage", name: str) -> Pixels:
    from PIL import ImageOps

    # Cameras store how they were held instead of turning the pixels.
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return (np.asarray(upright).astype(np.float32) / np.float32(_WORD_MAX))[:, :, np.newaxis]
    if upright.mode in ("I", "F"):
        raise ImageError(f"{name} has mode {upright.mode!r}, whose range is not known; give an array from 0 to 1")
    colour = "RGBA" if upright.has_transparency_data else "RGB"
    return _array_pixels(np.asarray(upright.convert("L" if upright.mode in ("1", "L") else colour)))


def _pillow() -> Any:  # noqa: ANN401 - a module
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            "decoding and resizing images needs Pillow: pip install 'quadriga[images]'"
        ) from error
    return Image


def _reason(error: BaseException) -> str:
    """Pillow's sentence, without the address of the buffer that it names."""
    text = str(error)
    return "its format is not known" if text.startswith("cannot identify image file") else text
