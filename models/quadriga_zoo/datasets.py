"""Labelled images: digits (ships with scikit-learn), Fashion-MNIST and CIFAR-10. Runs in commands and zoo jobs.

All images are NHWC float32 in [0, 1], 32 x 32 x 3, so that one network fits every data set.

File formats: IDX of http://yann.lecun.com/exdb/mnist, the python version of https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import gzip
import io
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from quadriga_zoo.errors import DatasetError

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

SIDE: Final = 32
_DIGITS_TEST_SHARE: Final = 0.2
_SEED: Final = 7

_FASHION_SOURCE: Final = "https://github.com/zalandoresearch/fashion-mnist"
_FASHION_SHAPE: Final = (28, 28)
_FASHION_LABELS: Final = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CIFAR_SOURCE: Final = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_CIFAR_ARCHIVE: Final = "cifar-10-python.tar.gz"
_CIFAR_FOLDER: Final = "cifar-10-batches-py"
_CIFAR_LABELS: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_CIFAR_BATCHES: Final = tuple(f"data_batch_{number}" for number in range(1, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images to train on and to test with.

    Attributes:
        name: A key of `LOADERS`.
        train_images: [n, 32, 32, 3], float32 in [0, 1].
        train_labels: [n], indices into `labels`.
        test_images: [m, 32, 32, 3], never trained on.
        test_labels: [m].
        labels: Class names.
    """

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    labels: tuple[str, ...]


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """A data set by name.

    Args:
        name: digits, fashion_mnist or cifar10.
        data_dir: Where its published files lie; None: Keras downloads them (digits needs none).

    Raises:
        DatasetError: No such data set, or a file is missing or damaged.
    """
    if name not in LOADERS:
        raise DatasetError(f"no data set {name!r}; there is: {', '.join(LOADERS)}")
    return LOADERS[name](data_dir)


def load_digits(data_dir: Path | None = None) -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 grey, upscaled; a fifth is for testing."""
    try:
        from sklearn.datasets import load_digits as load_bunch
    except ImportError as error:
        raise DatasetError("the digits come with scikit-learn: pip install 'quadriga[zoo]'") from error
    grey, labels = load_bunch(return_X_y=True)
    images = _to_rgb(grey.reshape(-1, 8, 8).astype(np.float32) / 16.0)
    order = np.random.default_rng(_SEED).permutation(len(images))
    test, train = np.split(order, [int(len(order) * _DIGITS_TEST_SHARE)])
    targets = labels.astype(np.int64)
    return Dataset(
        name="digits",
        train_images=images[train],
        train_labels=targets[train],
        test_images=images[test],
        test_labels=targets[test],
        labels=tuple("0123456789"),
    )


def load_fashion_mnist(data_dir: Path | None = None) -> Dataset:
    """Zalando's 70,000 articles of clothing, 28 x 28 grey, from IDX files, gzipped or not."""
    if data_dir is None:
        (train_grey, train_labels), (test_grey, test_labels) = _download("fashion_mnist")
    else:
        train_grey, train_labels = _read_idx_pair(data_dir, "train")
        test_grey, test_labels = _read_idx_pair(data_dir, "t10k")
    return Dataset(
        name="fashion_mnist",
        train_images=_to_rgb(train_grey.astype(np.float32) / 255.0),
        train_labels=train_labels.astype(np.int64),
        test_images=_to_rgb(test_grey.astype(np.float32) / 255.0),
        test_labels=test_labels.astype(np.int64),
        labels=_FASHION_LABELS,
    )


def load_cifar10(data_dir: Path | None = None) -> Dataset:
    """60,000 colour photographs, 32 x 32, from the published archive or the folder that it unpacks to."""
    if data_dir is None:
        (train_pixels, train_labels), (test_pixels, test_labels) = _download("cifar10")
    else:
        batches = dict(_read_cifar(data_dir))
        train_pixels = np.concatenate([batches[name][0] for name in _CIFAR_BATCHES])
        train_labels = np.concatenate([batches[name][1] for name in _CIFAR_BATCHES])
        test_pixels, test_labels = batches["test_batch"]
    return Dataset(
        name="cifar10",
        train_images=train_pixels.astype(np.float32) / 255.0,
        train_labels=train_labels.reshape(-1).astype(np.int64),
        test_images=test_pixels.astype(np.float32) / 255.0,
        test_labels=test_labels.reshape(-1).astype(np.int64),
        labels=_CIFAR_LABELS,
    )


LOADERS: Final[dict[str, Callable[[Path | None], Dataset]]] = {
    "digits": load_digits,
    "fashion_mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
}


def _to_rgb(grey: npt.NDArray[np.float32]) -> Images:
    """Enlarges by whole pixels as far as they fit, pads to 32 x 32 and repeats the channel."""
    factor = SIDE // grey.shape[1]
    large = grey.repeat(factor, axis=1).repeat(factor, axis=2)
    before = (SIDE - large.shape[1]) // 2
    after = SIDE - large.shape[1] - before
    padded = np.pad(large, ((0, 0), (before, after), (before, after)))
    return np.repeat(padded[..., np.newaxis], 3, axis=3)


def _download(name: str) -> Any:  # noqa: ANN401 - keras has no types
    try:
        from keras import datasets
    except ImportError as error:
        raise DatasetError(
            f"downloading {name} needs Keras: pip install 'quadriga[zoo]', or give --data-dir"
        ) from error
    try:
        return getattr(datasets, name).load_data()
    except Exception as error:
        source = _FASHION_SOURCE if name == "fashion_mnist" else _CIFAR_SOURCE
        raise DatasetError(
            f"{name} cannot be downloaded ({error}); fetch it from {source} and give --data-dir"
        ) from error


def _read_idx_pair(data_dir: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    images = _read_idx(data_dir, f"{part}-images-idx3-ubyte", 3)
    labels = _read_idx(data_dir, f"{part}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise DatasetError(
            f"{data_dir}: {len(images)} {part} images but {len(labels)} labels; get both from {_FASHION_SOURCE}"
        )
    if images.shape[1:] != _FASHION_SHAPE:
        raise DatasetError(
            f"{data_dir}: the {part} images have the shape {images.shape[1:]}, expected {_FASHION_SHAPE}; get them "
            f"from {_FASHION_SOURCE}"
        )
    _check_classes(labels, _FASHION_LABELS, f"{data_dir}: the {part} labels", _FASHION_SOURCE)
    return images, labels


def _check_classes(labels: npt.NDArray[Any], classes: tuple[str, ...], what: str, source: str) -> None:
    if not len(labels) or labels.min() < 0 or labels.max() >= len(classes):
        found = f"run from {labels.min()} to {labels.max()}" if len(labels) else "are none"
        raise DatasetError(f"{what} {found}, expected 0 to {len(classes) - 1}; get them again from {source}")


def _read_idx(data_dir: Path, name: str, dimensions: int) -> npt.NDArray[np.uint8]:
    """One IDX file: two zero bytes, the type (8: unsigned byte), the number of dimensions, their sizes, the data."""
    path = next((path for path in (data_dir / f"{name}.gz", data_dir / name) if path.is_file()), None)
    if path is None:
        raise DatasetError(f"{data_dir / name}.gz is not there; get it from {_FASHION_SOURCE}")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is damaged ({error}); get it again from {_FASHION_SOURCE}") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise DatasetError(f"{path} is no IDX file of {dimensions} dimensions; get it again from {_FASHION_SOURCE}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = int(np.prod(shape))
    if len(content) - header != expected:
        raise DatasetError(
            f"{path} is damaged: {len(content) - header} bytes of data where its header says {expected}; get it again "
            f"from {_FASHION_SOURCE}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_cifar(data_dir: Path) -> Iterator[tuple[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]]:
    wanted = (*_CIFAR_BATCHES, "test_batch")
    folder = data_dir if data_dir.name == _CIFAR_FOLDER else data_dir / _CIFAR_FOLDER
    if folder.is_dir():
        for name in wanted:
            path = folder / name
            if not path.is_file():
                raise DatasetError(f"{path} is not there; get it from {_CIFAR_SOURCE}")
            yield name, _parse_cifar(path.read_bytes(), path)
        return
    archive_path = data_dir / _CIFAR_ARCHIVE
    if not archive_path.is_file():
        raise DatasetError(f"neither {archive_path} nor {folder} is there; get the archive from {_CIFAR_SOURCE}")
    try:
        with tarfile.open(archive_path) as archive:
            for name in wanted:
                member = archive.extractfile(f"{_CIFAR_FOLDER}/{name}")
                if member is None:
                    raise KeyError(name)
                yield name, _parse_cifar(member.read(), archive_path)
    except (tarfile.TarError, KeyError, OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{archive_path} is damaged ({error}); get it again from {_CIFAR_SOURCE}") from error


def _parse_cifar(content: bytes, path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """One batch: a pickled dict with rows of 3,072 bytes, the channels one after the other, and a list of labels."""
    try:
        batch = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
        pixels = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        labels = np.asarray(batch[b"labels"], np.int64)
    except Exception as error:
        raise DatasetError(f"{path} is damaged ({error}); get it again from {_CIFAR_SOURCE}") from error
    if len(pixels) != len(labels):
        raise DatasetError(
            f"{path} has {len(pixels)} images but {len(labels)} labels; get it again from {_CIFAR_SOURCE}"
        )
    _check_classes(labels, _CIFAR_LABELS, f"{path}: the labels", _CIFAR_SOURCE)
    return pixels, labels


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain values only: a pickle can otherwise run any code that it names."""

    _ALLOWED: Final = frozenset(
        (module, name)
        for base in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
        for module, name in ((base, "ndarray"), (base, "dtype"), (base, "_reconstruct"))
    ) | {("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as pickle declares it
        """Only what an array is made of."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no data set needs")
        return super().find_class(module, name)
