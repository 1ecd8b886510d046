"""The CNN in Keras: a Sequential model, `compile` and `fit`. In zoo jobs."""

import time
from pathlib import Path
from typing import Any

import keras

from quadriga_zoo.datasets import Dataset, Images
from quadriga_zoo.networks import INPUT, OUTPUT, Epoch, Hyperparameters, Report


def build(classes: int) -> Any:  # noqa: ANN401 - keras has no types
    """The untrained model."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3), name=INPUT),
            keras.layers.Conv2D(32, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(16, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax", name=OUTPUT),
        ]
    )


class _EpochReporter(keras.callbacks.Callback):
    """Passes each epoch on to the job's own progress."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report
        self._started = self._seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ANN401
        """Stops it: `fit` counts its validation as part of the epoch."""
        self._seconds = time.perf_counter() - self._started

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401
        """Reports."""
        accuracy = logs["val_accuracy"]
        self._report(Epoch(number=epoch + 1, loss=logs["loss"], accuracy=accuracy, seconds=self._seconds))


def train(dataset: Dataset, hyper: Hyperparameters, report: Report) -> Any:  # noqa: ANN401
    """Trains with sparse categorical cross-entropy and Adam."""
    keras.utils.set_random_seed(hyper.seed)
    model = build(len(dataset.labels))
    optimizer = keras.optimizers.Adam(hyper.learning_rate)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        dataset.train_images,
        dataset.train_labels,
        batch_size=hyper.batch_size,
        epochs=hyper.epochs,
        validation_data=(dataset.test_images, dataset.test_labels),
        callbacks=[_EpochReporter(report)],
        verbose=0,
    )
    return model


def predict(model: Any, images: Images) -> Images:  # noqa: ANN401
    """The probabilities."""
    probabilities: Images = model.predict(images, verbose=0)
    return probabilities


def export(model: Any, path: Path) -> None:  # noqa: ANN401
    """Writes a `.keras` file."""
    model.save(path)
