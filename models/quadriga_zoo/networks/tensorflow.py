"""The CNN in low-level TensorFlow: variables in lists, operations by hand, an explicit training step. In zoo jobs."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from quadriga_zoo.datasets import Dataset, Images
from quadriga_zoo.networks import INPUT, OUTPUT, Epoch, Hyperparameters, Report

FILTERS = (32, 16)
HIDDEN = 64


class ConvolutionalNetwork(tf.Module):
    """Two convolutions with pooling, a dense layer, logits."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        initial = tf.random.Generator.from_seed(seed)

        def variable(*shape: int) -> Any:  # noqa: ANN401 - tensorflow has no types
            fan_in = int(np.prod(shape[:-1]))
            return tf.Variable(initial.normal(shape, stddev=np.sqrt(2.0 / fan_in)))

        flat = 8 * 8 * FILTERS[1]
        self.weights = [
            variable(3, 3, 3, FILTERS[0]),
            variable(3, 3, FILTERS[0], FILTERS[1]),
            variable(flat, HIDDEN),
            variable(HIDDEN, classes),
        ]
        self.biases = [tf.Variable(tf.zeros(weight.shape[-1])) for weight in self.weights]

    def logits(self, images: Any) -> Any:  # noqa: ANN401
        """[n, 32, 32, 3] -> [n, classes]."""
        layer = images
        for weight, bias in zip(self.weights[:2], self.biases[:2], strict=True):
            layer = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(layer, weight, strides=1, padding="SAME"), bias))
            layer = tf.nn.max_pool2d(layer, ksize=2, strides=2, padding="SAME")
        layer = tf.reshape(layer, [-1, self.weights[2].shape[0]])
        layer = tf.nn.relu(layer @ self.weights[2] + self.biases[2])
        return layer @ self.weights[3] + self.biases[3]


def train(dataset: Dataset, hyper: Hyperparameters, report: Report) -> ConvolutionalNetwork:
    """Trains with softmax cross-entropy and Adam."""
    network = ConvolutionalNetwork(len(dataset.labels), hyper.seed)
    variables = [*network.weights, *network.biases]
    optimizer = tf.keras.optimizers.Adam(hyper.learning_rate)
    optimizer.build(variables)

    @tf.function
    def step(images: Any, labels: Any) -> Any:  # noqa: ANN401
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, network.logits(images))
            loss = tf.reduce_mean(losses)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    batches = (
        tf.data.Dataset.from_tensor_slices((dataset.train_images, dataset.train_labels))
        .shuffle(len(dataset.train_images), seed=hyper.seed)
        .batch(hyper.batch_size)
    )
    for number in range(1, hyper.epochs + 1):
        started = time.perf_counter()
        losses = [float(step(images, labels)) for images, labels in batches]
        seconds = time.perf_counter() - started
        right = predict(network, dataset.test_images).argmax(axis=1) == dataset.test_labels
        report(Epoch(number=number, loss=float(np.mean(losses)), accuracy=float(right.mean()), seconds=seconds))
    return network


def predict(network: ConvolutionalNetwork, images: Images) -> Images:
    """The logits."""
    logits: Images = network.logits(tf.constant(images)).numpy()
    return logits


def export(network: ConvolutionalNetwork, path: Path) -> None:
    """Writes a SavedModel with one signature, serving_default: image -> scores."""
    signature = tf.TensorSpec((None, 32, 32, 3), tf.float32, name=INPUT)
    serve = tf.function(lambda image: {OUTPUT: network.logits(image)}, input_signature=[signature])
    tf.saved_model.save(network, str(path), signatures={"serving_default": serve})
