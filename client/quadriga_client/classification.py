"""From a classifier's scores to its top classes. Pure; runs in the user's process.

What scores are is decided by their values, since no format says it: rows that are not negative and add up to 1 are
probabilities; rows that are not positive and whose exponentials add up to 1 are log-probabilities (log_softmax); all
others are logits, which softmax turns into probabilities. The decision is made once for all rows of an answer.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from quadriga_client.errors import ResponseError
from quadriga_client.results import Classification, InferResult, ModelMetadata
from quadriga_proto.codec import Array

#: How far from 1 a row of probabilities may add up; half precision needs this much.
SUM_TOLERANCE: Final = 5e-3
#: The output that holds the scores where a model has several; without one of this name it is the first.
SCORES_OUTPUT: Final = "scores"

Probabilities = npt.NDArray[np.float64]


def classify_result(result: InferResult, metadata: ModelMetadata, rows: int, top_k: int) -> list[list[Classification]]:
    """The top classes of each row of an answer.

    Raises:
        ResponseError: The answer is not one row of scores per image.
    """
    if not result.outputs:
        raise ResponseError(f"model {metadata.name!r} answered without outputs")
    name = SCORES_OUTPUT if SCORES_OUTPUT in result.outputs else next(iter(result.outputs))
    scores = result.outputs[name]
    if scores.dtype.kind in "OSU" or scores.size % rows or scores.size // rows < 2:
        raise ResponseError(
            f"model {metadata.name!r} is no classifier: for {rows} images its output {name!r} is"
            f" {scores.dtype} {list(scores.shape)}, expected a row of two scores or more per image; use infer"
        )
    return top_classes(probabilities(scores.reshape(rows, -1)), metadata.labels, top_k)


def probabilities(scores: Array) -> Probabilities:
    """Scores `[rows, classes]` of any kind as probabilities, in the way that the module's docstring describes.

    Raises:
        ResponseError: A score is not a finite number.
    """
    values = scores.astype(np.float64)
    # The largest of a row is nan where one score is; log-probabilities may be minus infinity, not all of a row's.
    if not np.isfinite(values.max(axis=1)).all():
        raise ResponseError("the model's scores are not finite numbers")
    if (values >= 0).all() and _adds_up(values):
        return values
    if (values <= 0).all() and _adds_up(np.exp(values)):
        return np.exp(values)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    result: Probabilities = powers / powers.sum(axis=1, keepdims=True)
    return result


def top_classes(rows: Probabilities, labels: Sequence[str], top_k: int) -> list[list[Classification]]:
    """The `top_k` most probable classes of each row, best first; of equals, the lower index first."""
    order = np.argsort(-rows, axis=1, kind="stable")[:, :top_k]
    return [
        [
            Classification(
                label=labels[index] if index < len(labels) else str(index),
                index=index,
                probability=float(row[index]),
            )
            for index in best.tolist()
        ]
        for row, best in zip(rows, order, strict=True)
    ]


def _adds_up(values: Probabilities) -> bool:
    return bool(np.allclose(values.sum(axis=1), 1.0, rtol=0.0, atol=SUM_TOLERANCE))
