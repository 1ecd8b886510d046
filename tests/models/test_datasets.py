"""The loaders, on small files in the real on-disk formats, whole and damaged."""

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadriga_zoo.datasets import load
from quadriga_zoo.errors import DatasetError

TRAIN, TEST = 6, 4


def test_digits_are_real_and_split() -> None:
    digits = load("digits")
    assert len(digits.train_images) + len(digits.test_images) == 1797
    assert digits.test_images.shape == (359, 32, 32, 3)
    assert digits.test_images.dtype == np.float32
    assert (digits.test_images.min(), digits.test_images.max()) == (0.0, 1.0)
    assert set(digits.test_labels) == set(range(10))
    assert digits.labels == tuple("0123456789")
    again = load("digits")
    np.testing.assert_array_equal(again.test_labels, digits.test_labels)


def test_upscaling_keeps_each_pixel() -> None:
    from sklearn.datasets import load_digits

    originals = {image.astype(np.float32).tobytes() for image in load_digits().images}
    for image in load("digits").test_images[:20]:
        assert (image[::4, ::4, 0] * 16).astype(np.float32).tobytes() in originals
        np.testing.assert_array_equal(image[1::4, 3::4, 2], image[::4, ::4, 0])


def test_unknown_data_set() -> None:
    with pytest.raises(DatasetError, match=r"'letters'.*digits"):
        load("letters")


def idx(array: np.ndarray[Any, Any]) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        images = random.integers(0, 256, (count, 28, 28), np.uint8)
        labels = np.arange(count, dtype=np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_fashion_mnist(fashion: Path) -> None:
    data = load("fashion_mnist", fashion)
    assert data.train_images.shape == (TRAIN, 32, 32, 3)
    assert data.test_labels.tolist() == list(range(TEST))
    assert data.labels[9] == "Ankle boot"
    raw = gzip.decompress((fashion / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    expected = np.frombuffer(raw, np.uint8).reshape(TEST, 28, 28) / np.float32(255)
    np.testing.assert_array_equal(data.test_images[:, 2:30, 2:30, 1], expected)
    assert data.test_images[:, :2].sum() == 0


def truncate_gzip(folder: Path) -> str:
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    return path.name


def truncate_plain(folder: Path) -> str:
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    return path.name


def replace_by_html(folder: Path) -> str:
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(b"<html>not found</html>")
    return path.name


def swap_for_labels(folder: Path) -> str:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(5, np.uint8))))
    return path.name


def remove(folder: Path) -> str:
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    return path.name


def count_differently(folder: Path) -> str:
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(TRAIN + 1, np.uint8)))
    return f"{TRAIN} train images"


def enlarge(folder: Path) -> str:
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        path = folder / f"{part}-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(idx(np.full((count, 40, 40), 200, np.uint8))))
    return "(40, 40)"


def number_an_eleventh_class(folder: Path) -> str:
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(TEST, 10, np.uint8)))
    return "t10k labels"


@pytest.mark.parametrize(
    "damage",
    [
        truncate_gzip,
        truncate_plain,
        replace_by_html,
        swap_for_labels,
        remove,
        count_differently,
        enlarge,
        number_an_eleventh_class,
    ],
)
def test_damaged_fashion_mnist_names_the_file_and_its_source(fashion: Path, damage: Callable[[Path], str]) -> None:
    named = damage(fashion)
    with pytest.raises(DatasetError) as error:
        load("fashion_mnist", fashion)
    assert named in str(error.value)
    assert "github.com/zalandoresearch" in str(error.value)


CIFAR_NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def cifar_batch(seed: int, count: int = 3) -> dict[bytes, Any]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)
    return {b"batch_label": b"x", b"labels": [seed % 10] * count, b"data": pixels, b"filenames": [b"a.png"] * count}


def write_archive(path: Path, batches: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def batches() -> dict[str, bytes]:
    return {name: pickle.dumps(cifar_batch(seed), protocol=2) for seed, name in enumerate(CIFAR_NAMES)}


def test_cifar10_from_the_archive_and_from_its_folder(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_archive(tmp_path / "cifar-10-python.tar.gz", batches)
    from_archive = load("cifar10", tmp_path)
    folder = tmp_path / "unpacked" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, content in batches.items():
        (folder / name).write_bytes(content)
    for data_dir in (folder.parent, folder):
        from_folder = load("cifar10", data_dir)
        np.testing.assert_array_equal(from_folder.train_images, from_archive.train_images)
    assert from_archive.train_images.shape == (15, 32, 32, 3)
    assert from_archive.test_labels.tolist() == [5, 5, 5]
    pixels = cifar_batch(5)[b"data"][0].reshape(3, 32, 32)
    np.testing.assert_allclose(from_archive.test_images[0, 7, 9], pixels[:, 7, 9] / 255, rtol=1e-6)
    assert from_archive.labels[0] == "airplane"


def python_2_batch(pixels: np.ndarray[Any, Any], labels: list[int]) -> bytes:
    """The opcodes of the published batches: protocol 2, byte strings, and the module names of numpy at that time."""

    def text(content: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(content)) + content

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85" + text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + integer(0) + integer(1) + b"\x87R"
    dtype += b"(" + integer(3) + text(b"|") + b"NNN" + integer(-1) * 2 + integer(0) + b"tb"
    shape = integer(pixels.shape[0]) + integer(pixels.shape[1]) + b"\x86"
    array = empty + b"(" + integer(1) + shape + dtype + b"\x89" + text(pixels.tobytes()) + b"tb"
    numbers = b"](" + b"".join(map(integer, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


def test_cifar10_as_python_2_wrote_it(tmp_path: Path) -> None:
    pixels: np.ndarray[Any, Any] = np.random.default_rng(3).integers(0, 256, (2, 3072), np.uint8)
    write_archive(tmp_path / "cifar-10-python.tar.gz", dict.fromkeys(CIFAR_NAMES, python_2_batch(pixels, [9, 4])))
    data = load("cifar10", tmp_path)
    assert data.test_labels.tolist() == [9, 4]
    assert (data.test_images[1, 30, 2] * 255).round().tolist() == pixels[1].reshape(3, 32, 32)[:, 30, 2].tolist()


def test_cifar10_with_an_unknown_class(tmp_path: Path, batches: dict[str, bytes]) -> None:
    wrong = pickle.dumps({**cifar_batch(0), b"labels": [3, 10, 3]}, protocol=2)
    write_archive(tmp_path / "cifar-10-python.tar.gz", {**batches, "test_batch": wrong})
    with pytest.raises(DatasetError, match=r"run from 3 to 10, expected 0 to 9.*kriz"):
        load("cifar10", tmp_path)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("false",)


def test_damaged_cifar10_names_the_file_and_its_source(tmp_path: Path, batches: dict[str, bytes]) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    with pytest.raises(DatasetError, match=r"cifar-10-python\.tar\.gz.*kriz"):
        load("cifar10", tmp_path)
    write_archive(archive, {name: batches[name] for name in CIFAR_NAMES[:3]})
    with pytest.raises(DatasetError, match="damaged"):
        load("cifar10", tmp_path)
    write_archive(archive, {**batches, "data_batch_2": b"junk"})
    with pytest.raises(DatasetError, match="damaged"):
        load("cifar10", tmp_path)
    write_archive(archive, batches)
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(DatasetError, match="damaged"):
        load("cifar10", tmp_path)


def test_a_pickle_that_names_code_is_not_run(tmp_path: Path, batches: dict[str, bytes]) -> None:
    write_archive(tmp_path / "cifar-10-python.tar.gz", {**batches, "data_batch_1": pickle.dumps(Malicious())})
    with pytest.raises(DatasetError, match="system, which no data set needs"):
        load("cifar10", tmp_path)
