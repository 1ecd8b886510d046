"""What a network and its exports are compared on: a data set's images, or random numbers. Runs in zoo jobs.

Images become what a model takes as the client library makes them so: that is what an export will be given.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quadriga_zoo import datasets

Array = npt.NDArray[Any]

#: Images that a network is compared on, unless it classifies the very data set.
IMAGES: Final = 64
#: Networks of more parameters take about a second an image with all their formats, so fewer do.
LARGE_PARAMETERS: Final = 10_000_000
IMAGES_OF_LARGE: Final = 16
#: Rows of random numbers, for what takes no image.
RANDOM_ROWS: Final = 16
#: Sizes of random inputs where the model leaves them open.
_OPEN_SIZE: Final = 8
_SEED: Final = 7


class Samples(NamedTuple):
    """Inputs of a model.

    Attributes:
        inputs: Per input, [n, ...].
        labels: The right class of each row, [n]; empty where the model does not tell the data set's classes apart.
        classes: Their names; empty likewise.
        dataset: Where the images come from; empty for random numbers.
    """

    inputs: tuple[Array, ...]
    labels: Array
    classes: tuple[str, ...]
    dataset: str


def samples_for(model: Any, dataset: str, data_dir: Path | None) -> Samples:  # noqa: ANN401 - keras.Model
    """Test images of the data set where the model takes one image, else random numbers.

    A network that classifies the data set as it is gets every test image, so that its accuracy is that of the data set.

    Raises:
        DatasetError: The model takes an image, and the data set cannot be loaded.
    """
    size = image_size(model)
    if size is None:
        return Samples(random_inputs(model), np.empty(0, np.int64), (), "")
    data = datasets.load(dataset, data_dir)
    height, width, channels = size
    own_height, own_width, own_channels = data.test_images.shape[1:]
    wanted = (height or own_height, width or own_width, channels)
    classifies = tuple(model.outputs[0].shape[1:]) == (len(data.labels),)
    rows = IMAGES
    if model.count_params() > LARGE_PARAMETERS:
        rows = IMAGES_OF_LARGE
    elif classifies and wanted == (own_height, own_width, own_channels):
        rows = len(data.test_images)
    images = fit(data.test_images[:rows], *wanted).astype(model.inputs[0].dtype)
    if not classifies:
        return Samples((images,), np.empty(0, np.int64), (), data.name)
    return Samples((images,), data.test_labels[:rows], data.labels, data.name)


def image_size(model: Any) -> tuple[int | None, int | None, int] | None:  # noqa: ANN401
    """Height, width (None: open) and channels of a model over one NHWC image of floats; None for any other."""
    if len(model.inputs) != 1:
        return None
    (tensor,) = model.inputs
    if len(tensor.shape) != 4 or tensor.shape[3] not in (1, 3) or tensor.dtype not in ("float16", "float32", "float64"):
        return None
    return tensor.shape[1], tensor.shape[2], tensor.shape[3]


def fit(images: Sequence[Array] | Array, height: int, width: int, channels: int) -> Array:
    """Images in another size, bilinear, and with 1 or 3 channels."""
    from quadriga_client.images import resize, with_channels

    return np.stack([resize(with_channels(image, channels), height, width) for image in images])


def random_inputs(model: Any) -> tuple[Array, ...]:  # noqa: ANN401
    """The same random rows every time: floats in [0, 1), integers 0 and 1, which are in every vocabulary."""
    random = np.random.default_rng(_SEED)
    inputs = []
    for tensor in model.inputs:
        shape = (RANDOM_ROWS, *(size or _OPEN_SIZE for size in tensor.shape[1:]))
        numbers = random.random(shape) if "float" in tensor.dtype else random.integers(0, 2, shape)
        inputs.append(numbers.astype(tensor.dtype))
    return tuple(inputs)
