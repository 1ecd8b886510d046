"""The zoo's networks trained anew, each in a process of its own; what is compared takes turns by seed."""

import tempfile
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from quadriga_zoo import datasets
from quadriga_zoo.runner import run_job
from study.figures import Training

DATASET: Final = "digits"
FIRST_SEED: Final = 7


class Trained(NamedTuple):
    """A network, and the framework that its process has: what Keras runs on."""

    network: str
    runs_on: str

    @property
    def keras_backend(self) -> str:
        """As `Training` has it."""
        return self.runs_on if self.network == "keras" else ""


#: Training Keras on JAX is measured where JAX is installed.
TRAINED: Final = (
    Trained("tensorflow", "tensorflow"),
    Trained("keras", "tensorflow"),
    Trained("keras", "torch"),
    Trained("keras", "jax"),
    Trained("pytorch", "torch"),
)


def measure_trainings(
    keras_backends: Sequence[str], repetitions: int, tell: Callable[[str], None]
) -> tuple[Training, ...]:
    """Every network with every seed.

    Args:
        keras_backends: Those that are installed.
        repetitions: Seeds.
        tell: Hears what is being done.

    Raises:
        ZooError: A training failed.
    """
    images = len(datasets.load(DATASET).train_images)
    wanted = [each for each in TRAINED if not each.keras_backend or each.keras_backend in keras_backends]
    return tuple(
        train(trained, seed, images, tell)
        for seed in range(FIRST_SEED, FIRST_SEED + repetitions)
        for trained in (wanted if seed % 2 else reversed(wanted))
    )


def train(trained: Trained, seed: int, images: int, tell: Callable[[str], None]) -> Training:
    """One training; the files that it writes are thrown away."""
    with tempfile.TemporaryDirectory(prefix="quadriga-study-") as folder:
        done = run_job(
            "train",
            {"network": trained.network, "dataset": DATASET, "data_dir": None, "target": folder, "seed": seed},
            keras_backend=trained.runs_on,
        )
    training = Training(
        network=trained.network,
        keras_backend=trained.keras_backend,
        seed=seed,
        parameters=done["parameters"],
        images=images,
        seconds=tuple(epoch["seconds"] for epoch in done["epochs"]),
        accuracy=done["test_accuracy"],
    )
    first, *others = training.seconds
    tell(
        f"{training.name}, seed {seed}: first epoch {first:.2f} s, others {sum(others) / len(others):.2f} s, "
        f"accuracy {training.accuracy:.3f}"
    )
    return training
