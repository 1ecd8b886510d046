"""The zoo's networks trained anew, each in a process of its own; what is compared takes turns by seed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from quadriga_zoo import datasets
from quadriga_zoo.runner import last_words
from study.errors import StudyError
from study.figures import LIKE_KERAS, Training
from study.trainee import DATASET

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
    Trained(LIKE_KERAS, "tensorflow"),
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
        StudyError: A training failed.
    """
    images = len(datasets.load(DATASET).train_images)
    wanted = [each for each in TRAINED if not each.keras_backend or each.keras_backend in keras_backends]
    return tuple(
        train(trained, seed, images, tell)
        for seed in range(FIRST_SEED, FIRST_SEED + repetitions)
        for trained in (wanted if seed % 2 else reversed(wanted))
    )


def train(trained: Trained, seed: int, images: int, tell: Callable[[str], None]) -> Training:
    """One training.

    Raises:
        StudyError: It failed.
    """
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    chosen = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(
        [sys.executable, "-m", "study.trainee", trained.network, str(seed)],
        env={**os.environ, **chosen, "KERAS_BACKEND": trained.runs_on, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        words = last_words(ended.stderr.splitlines())
        raise StudyError(f"training {trained.network} on {trained.runs_on} ended with {ended.returncode}: {words}")
    done = json.loads(ended.stdout.splitlines()[-1])
    training = Training(
        network=trained.network,
        keras_backend=trained.keras_backend,
        seed=seed,
        parameters=done["parameters"],
        images=images,
        seconds=tuple(done["seconds"]),
        accuracy=done["accuracy"],
    )
    tell(
        f"{training.name}, seed {seed}: first epoch {training.seconds[0]:.2f} s, others {training.later:.2f} s, "
        f"accuracy {training.accuracy:.3f}"
    )
    return training
