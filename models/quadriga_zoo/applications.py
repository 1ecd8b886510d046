"""Large networks of Keras with random weights, for load tests.

The command reads their names; they are made in zoo jobs.
"""

from typing import Any, Final

import numpy as np

from quadriga_zoo.networks import INPUT, OUTPUT

#: What each is called in `keras.applications`, by the name that the command knows.
APPLICATIONS: Final = {"resnet50": "ResNet50", "mobilenet_v2": "MobileNetV2"}
_SIDE: Final = 224
_CLASSES: Final = 1000
_SEED: Final = 7
#: Images for the statistics of the normalisations: coloured squares, since pixels of noise are unlike any photograph.
_MOSAICS: Final = 8
_SQUARE: Final = 32


def build(name: str) -> Any:  # noqa: ANN401 - keras.Model
    """One of `APPLICATIONS`, with the same weights every time."""
    import keras

    keras.utils.set_random_seed(_SEED)
    image = keras.Input((_SIDE, _SIDE, 3), name=INPUT)
    maker = getattr(keras.applications, APPLICATIONS[name])
    body = maker(weights=None, include_top=False, pooling="avg", input_tensor=image)
    scores = keras.layers.Dense(_CLASSES, activation="softmax", name=OUTPUT)(body.output)
    model = keras.Model(image, scores, name=name)
    _measure_statistics(model)
    return model


def _measure_statistics(model: Any) -> None:  # noqa: ANN401
    """Gives the batch normalisations the mean and variance that they see on random mosaics.

    With those that Keras begins with, random weights shrink what they are given from layer to layer until every image
    gets the same scores, and an export that computes something else would pass its comparison.
    """
    squares = np.random.default_rng(_SEED).random((_MOSAICS, _SIDE // _SQUARE, _SIDE // _SQUARE, 3), np.float32)
    normalisations = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    momenta = [layer.momentum for layer in normalisations]
    for layer in normalisations:
        layer.momentum = 0.0
    model(squares.repeat(_SQUARE, axis=1).repeat(_SQUARE, axis=2), training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum
