"""Rewriting a Keras model to channels-first, under Keras on PyTorch in a process of its own."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

CHECK = """
import json
import keras, numpy as np, torch
from quadriga_zoo.channels import channels_first

L = keras.layers
keras.utils.set_random_seed(3)

def branched():
    image = keras.Input((12, 10, 3), name="image")
    x = L.BatchNormalization()(L.Conv2D(8, 3, padding="same", strides=2)(L.ZeroPadding2D(((1, 0), (0, 2)))(image)))
    x = L.Concatenate()([L.ReLU()(x), L.Activation("tanh")(L.DepthwiseConv2D(3, padding="same")(x))])
    x = L.Add()([x, L.SeparableConv2D(16, 3, padding="same")(x)])
    x = L.AveragePooling2D(2, padding="same")(L.UpSampling2D()(x))
    x = L.Concatenate()([L.Flatten()(x), L.GlobalMaxPooling2D()(x)])
    return keras.Model(image, L.Dense(5, activation="softmax")(x))

def sequential():
    convolution = L.Conv2D(4, 2, activation="relu")
    return keras.Sequential([keras.Input((9, 9, 3)), convolution, L.MaxPooling2D(), L.Flatten(), L.Dense(3)])

def unknown_layer():
    return keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 2), L.LayerNormalization(), L.Flatten(), L.Dense(3)])

def no_image():
    return keras.Sequential([keras.Input((8,)), L.Dense(3)])

seen = {}
for make in (branched, sequential, unknown_layer, no_image):
    model = make()
    for weight in model.weights:
        weight.assign(weight + np.random.default_rng(1).random(weight.shape))
    rewritten = channels_first(model)
    difference = None
    if rewritten is not None:
        images = np.random.default_rng(2).random((3, *model.inputs[0].shape[1:]), np.float32)
        with torch.inference_mode():
            expected = model(images, training=False).numpy()
            found = rewritten(images.transpose(0, 3, 1, 2), training=False).numpy()
        difference = float(np.abs(expected - found).max() / np.abs(expected).max())
    seen[make.__name__] = difference
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def differences() -> dict[str, Any]:
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    result = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    seen: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return seen


@pytest.mark.parametrize("model", ["branched", "sequential"])
def test_the_rewritten_model_computes_the_same(differences: dict[str, Any], model: str) -> None:
    assert differences[model] is not None, "it was not rewritten"
    assert differences[model] < 1e-5


@pytest.mark.parametrize("model", ["unknown_layer", "no_image"])
def test_what_is_not_known_to_compute_the_same_is_left_alone(differences: dict[str, Any], model: str) -> None:
    assert differences[model] is None
