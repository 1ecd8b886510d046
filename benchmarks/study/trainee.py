"""One of the zoo's networks trained once: `python -m study.trainee NETWORK SEED`. Runs in a process of its own.

What the zoo's job does besides, exporting the network, is left out. The last line of stdout is a JSON object: how many
weights the network has, the seconds of each epoch, and the accuracy after the last one.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from quadriga_zoo import datasets
from quadriga_zoo.networks import Epoch, Hyperparameters, Report
from study.figures import LIKE_KERAS

DATASET: Final = "digits"


def _tensorflow(data: datasets.Dataset, hyper: Hyperparameters, report: Report) -> int:
    from quadriga_zoo.networks import tensorflow

    return sum(int(each.shape.num_elements()) for each in tensorflow.train(data, hyper, report).trainable_variables)


def _like_keras(data: datasets.Dataset, hyper: Hyperparameters, report: Report) -> int:
    """The zoo's loop in TensorFlow, which trains the network that its module calls so, over the others' layers."""
    import tensorflow as tf

    from quadriga_zoo.networks import tensorflow as zoo

    class KerasLayers(zoo.ConvolutionalNetwork):
        """Convolutions without padding, and no hidden layer."""

        def __init__(self, classes: int, seed: int) -> None:
            super().__init__(classes, seed)
            *convolutions, _, _ = self.weights
            flat = 6 * 6 * zoo.FILTERS[1]
            dense = tf.random.Generator.from_seed(seed).normal((flat, classes), stddev=(2.0 / flat) ** 0.5)
            self.weights = [*convolutions, tf.Variable(dense)]
            self.biases = [tf.Variable(tf.zeros(weight.shape[-1])) for weight in self.weights]

        def logits(self, images: Any) -> Any:  # noqa: ANN401 - tensorflow has no types
            layer = images
            for weight, bias in zip(self.weights[:2], self.biases[:2], strict=True):
                layer = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(layer, weight, strides=1, padding="VALID"), bias))
                layer = tf.nn.max_pool2d(layer, ksize=2, strides=2, padding="VALID")
            return tf.reshape(layer, [-1, self.weights[2].shape[0]]) @ self.weights[2] + self.biases[2]

    vars(zoo)["ConvolutionalNetwork"] = KerasLayers
    return _tensorflow(data, hyper, report)


def _keras(data: datasets.Dataset, hyper: Hyperparameters, report: Report) -> int:
    from quadriga_zoo.networks import keras

    return int(keras.train(data, hyper, report).count_params())


def _pytorch(data: datasets.Dataset, hyper: Hyperparameters, report: Report) -> int:
    from quadriga_zoo.networks import pytorch

    return sum(each.numel() for each in pytorch.train(data, hyper, report).parameters())


#: Each trains, and returns how many weights the network has.
TRAINERS: Final[dict[str, Callable[[datasets.Dataset, Hyperparameters, Report], int]]] = {
    "tensorflow": _tensorflow,
    LIKE_KERAS: _like_keras,
    "keras": _keras,
    "pytorch": _pytorch,
}


def main(arguments: Sequence[str]) -> None:
    """What `training.train` starts."""
    network, seed = arguments
    epochs: list[Epoch] = []
    parameters = TRAINERS[network](datasets.load(DATASET), Hyperparameters(seed=int(seed)), epochs.append)
    seconds = [epoch.seconds for epoch in epochs]
    print(json.dumps({"parameters": parameters, "seconds": seconds, "accuracy": epochs[-1].accuracy}))


if __name__ == "__main__":
    main(sys.argv[1:])
