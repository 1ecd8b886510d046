"""Images of every kind become what a model takes, or a clear error."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from quadriga_client.errors import ImageError, InputError, MissingPackageError
from quadriga_client.images import ImageInput, as_sequence, read_pixels, resize, with_channels
from quadriga_client.results import ModelMetadata, TensorMetadata

RED_BLUE = np.array([[[255, 0, 0], [0, 0, 255]], [[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)


def model(*shape: int, datatype: str = "FP32", inputs: int = 1, **properties: str) -> ModelMetadata:
    tensor = TensorMetadata(name="image", datatype=datatype, shape=shape)
    return ModelMetadata(
        name="m", versions=("1",), platform="", inputs=(tensor,) * inputs, outputs=(), properties=properties
    )


def encoded(array: Any, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["path", "text path", "bytes", "pillow", "uint8 array", "float array"])
def test_every_kind_gives_the_same_pixels(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "image.png"
    file.write_bytes(encoded(RED_BLUE))
    image: Any = {
        "path": file,
        "text path": str(file),
        "bytes": file.read_bytes(),
        "pillow": PIL.Image.fromarray(RED_BLUE),
        "uint8 array": RED_BLUE,
        "float array": RED_BLUE / 255.0,
    }[kind]
    pixels = read_pixels(image)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, RED_BLUE / 255.0, atol=1e-7)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_of_pillow_is_read(mode: str) -> None:
    white = PIL.Image.new("L", (5, 3), 255)
    image = PIL.Image.new("I;16", (5, 3), 65535) if mode == "I;16" else white.convert("RGB").convert(mode)
    pixels = with_channels(read_pixels(image), 3)
    assert pixels.shape == (3, 5, 3)
    np.testing.assert_allclose(pixels, 1.0, atol=0.01)


def test_sixteen_bits_keep_their_scale() -> None:
    grey = np.full((2, 2), 32768, dtype=np.uint16)
    np.testing.assert_allclose(read_pixels(encoded(grey)), 0.5, atol=1e-4)


def test_a_camera_held_upright() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    sideways = encoded(np.zeros((4, 10, 3), dtype=np.uint8), "JPEG", exif=exif)
    assert read_pixels(sideways).shape == (10, 4, 3)


def test_images_that_are_not_there_or_none(tmp_path: Path) -> None:
    missing, text, folder, cut = (tmp_path / name for name in ("missing.png", "text.png", "folder", "cut.png"))
    text.write_text("this is no image")
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    cut.write_bytes(encoded(noise)[:3000])
    for path, message in [
        (missing, "no such image: .*missing.png"),
        (text, "text.png is not an image that can be read: its format is not known"),
        (folder, "cannot read the image .*folder: Is a directory"),
        (cut, "cut.png is not an image that can be read"),
    ]:
        with pytest.raises(ImageError, match=message):
            read_pixels(path)
    with pytest.raises(ImageError, match="the 0 bytes given is not an image"):
        read_pixels(b"")
    with pytest.raises(ImageError, match="mode 'F'"):
        read_pixels(PIL.Image.new("F", (2, 2)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4,), dtype=np.uint8), r"got shape \[4\]"),
        (np.zeros((1, 4, 4, 3), dtype=np.uint8), r"got shape \[1, 4, 4, 3\]"),
        (np.zeros((4, 4, 2), dtype=np.uint8), "1, 3 or 4 channels"),
        (np.zeros((0, 4, 3), dtype=np.uint8), r"got shape \[0, 4, 3\]"),
        (np.zeros((4, 4, 3), dtype=np.int64), "got int64"),
        (np.full((4, 4, 3), 255.0), "got 255 to 255"),
        (np.full((4, 4, 3), -0.5), "values from 0 to 1"),
        (np.full((4, 4, 3), np.nan), "values from 0 to 1"),
    ],
)
def test_arrays_that_are_no_images(array: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_pixels(array)


def test_other_things_are_no_images() -> None:
    with pytest.raises(ImageError, match="got int"):
        read_pixels(7)  # type: ignore[arg-type]


def test_channels() -> None:
    colour = read_pixels(RED_BLUE)
    grey = with_channels(colour, 1)
    np.testing.assert_allclose(grey[0, :, 0], [0.299, 0.114], atol=1e-6)
    np.testing.assert_array_equal(with_channels(grey, 3), np.repeat(grey, 3, axis=2))
    opaque = with_channels(colour, 4)
    np.testing.assert_array_equal(opaque[..., 3], 1.0)
    np.testing.assert_array_equal(with_channels(opaque, 3), colour)
    np.testing.assert_array_equal(with_channels(opaque, 1), grey)


def test_resizing() -> None:
    left_right = np.zeros((8, 8, 3), dtype=np.float32)
    left_right[:, 4:] = 1.0
    small = resize(left_right, 2, 4)
    assert small.shape == (2, 4, 3)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small[:, 0], 0.0, atol=0.2)
    np.testing.assert_allclose(small[:, 3], 1.0, atol=0.2)
    np.testing.assert_allclose(small.mean(), 0.5, atol=1e-5)
    assert resize(left_right, 8, 8) is left_right


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((-1, 6, 4, 3), (6, 4, 3)),
        ((-1, 3, 6, 4), (3, 6, 4)),
        ((-1, 1, 6, 4), (1, 6, 4)),
        ((6, 4, 3), (6, 4, 3)),
        ((-1, -1, -1, 3), (2, 2, 3)),
        ((-1, 3, -1, -1), (3, 2, 2)),
        ((-1, 3, 6, 1), (3, 6, 1)),
    ],
)
def test_layouts(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    prepared = ImageInput.of(model(*shape)).prepare(RED_BLUE)
    assert prepared.shape == expected
    assert prepared.dtype == np.float32


def test_channels_first_moves_and_does_not_reshape() -> None:
    prepared = ImageInput.of(model(-1, 3, 2, 2)).prepare(RED_BLUE)
    np.testing.assert_array_equal(prepared[0], [[1, 0], [1, 0]])
    np.testing.assert_array_equal(prepared[2], [[0, 1], [0, 1]])


@pytest.mark.parametrize(("datatype", "dtype", "most"), [("FP16", "f2", 1), ("FP64", "f8", 1), ("UINT8", "u1", 255)])
def test_datatypes(datatype: str, dtype: str, most: int) -> None:
    prepared = ImageInput.of(model(-1, 2, 2, 3, datatype=datatype)).prepare(RED_BLUE)
    assert prepared.dtype == np.dtype(dtype)
    assert prepared.max() == most


@pytest.mark.parametrize(
    "metadata",
    [
        model(-1, 10),
        model(-1, 5, 5, 5),
        model(-1, 2, 2, 3, datatype="INT64"),
        model(-1, 2, 2, 3, inputs=2),
        model(-1, 2, 2, 3, inputs=0),
        model(-1, 0, 2, 3),
        model(-1, -2, 2, 3),
        model(0, 2, 2, 3),
        model(-1, 1 << 20, 1 << 20, 3),
    ],
)
def test_models_that_take_no_image(metadata: ModelMetadata) -> None:
    with pytest.raises(InputError, match="not one image tensor"):
        ImageInput.of(metadata)


def sizes(metadata: ModelMetadata, images: list[Any]) -> list[tuple[int, tuple[int, ...]]]:
    return [(count, tensor.shape) for count, tensor in ImageInput.of(metadata).batches_of(images)]


def test_requests_hold_what_the_model_takes() -> None:
    images = [RED_BLUE] * 5
    assert sizes(model(-1, 2, 2, 3), images) == [(5, (5, 2, 2, 3))]
    limited = model(-1, 2, 2, 3, max_batch_size="2")
    assert sizes(limited, images) == [(2, (2, 2, 2, 3)), (2, (2, 2, 2, 3)), (1, (1, 2, 2, 3))]
    assert sizes(model(1, 2, 2, 3), images[:2]) == [(1, (1, 2, 2, 3))] * 2
    assert sizes(model(2, 2, 3), images[:2]) == [(1, (2, 2, 3))] * 2
    assert sizes(model(-1, 2, 2, 3), []) == []


def test_images_of_several_sizes_travel_apart_where_the_model_takes_any() -> None:
    wide = np.zeros((2, 5, 3), dtype=np.uint8)
    found = sizes(model(-1, -1, -1, 3), [RED_BLUE, RED_BLUE, wide, RED_BLUE])
    assert found == [(2, (2, 2, 2, 3)), (1, (1, 2, 5, 3)), (1, (1, 2, 2, 3))]


def test_one_or_several() -> None:
    assert len(as_sequence("a.png")) == len(as_sequence(Path("a.png"))) == len(as_sequence(b"PNG")) == 1
    assert len(as_sequence(RED_BLUE)) == len(as_sequence(RED_BLUE[:, :, 0])) == 1
    assert len(as_sequence(PIL.Image.fromarray(RED_BLUE))) == 1
    assert len(as_sequence(np.stack([RED_BLUE] * 3))) == 3
    assert len(as_sequence(["a.png", RED_BLUE])) == 2
    assert len(as_sequence(iter([RED_BLUE]))) == 1


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(RED_BLUE)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'quadriga\[images\]'"):
        read_pixels(data)
    with pytest.raises(MissingPackageError, match=r"pip install 'quadriga\[images\]'"):
        resize(read_pixels(RED_BLUE), 1, 1)
    assert ImageInput.of(model(-1, 2, 2, 3)).prepare(RED_BLUE).shape == (2, 2, 3)
