"""The article's CNN, written three times in the style of each framework's users. Runs in zoo jobs.

Every module has a `train` that takes a data set, hyper-parameters and a callback for each epoch. Importing one imports
its framework, so a job imports the one that it needs.
"""

from collections.abc import Callable
from dataclasses import dataclass

#: What a served network calls its input, [n, 32, 32, 3] float32 in [0, 1], and its output, [n, classes].
INPUT = "image"
OUTPUT = "scores"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """How a network is trained.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: Of Adam.
        seed: Of weights and shuffling.
    """

    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 2e-3
    seed: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training images.

    Attributes:
        number: From 1.
        loss: Mean over the training images, in nats.
        accuracy: Share of the test images that are classified right after it.
        seconds: Wall time, without the test.
    """

    number: int
    loss: float
    accuracy: float
    seconds: float


Report = Callable[[Epoch], None]
