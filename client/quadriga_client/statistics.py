"""A server's cumulative statistics of a model, as values; runs in the user's process."""

from collections.abc import Mapping
from dataclasses import dataclass

from quadriga_proto import inference_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How often something was done, and the nanoseconds it took in all."""

    count: int
    ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """What batches of one size took."""

    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """What one version of a model has done since it was loaded.

    Attributes:
        model: Its name.
        version: Its number.
        last_inference_ms: Of the last request, in milliseconds since the epoch; 0 before the first.
        inference_count: Rows.
        execution_count: Batches.
        success: Requests that were answered, from arrival to response.
        fail: Requests that failed after they were admitted.
        queue: Waiting.
        compute_input: Gathering batches.
        compute_infer: The model's own runs.
        compute_output: Taking outputs apart.
        batches: By batch size.
    """

    model: str
    version: str
    last_inference_ms: int
    inference_count: int
    execution_count: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    batches: Mapping[int, BatchStatistics]

    @classmethod
    def from_message(cls, message: pb.ModelStatistics) -> "ModelStatistics":
        """Reads the message."""
        sums = message.inference_stats
        return cls(
            model=message.name,
            version=message.version,
            last_inference_ms=message.last_inference,
            inference_count=message.inference_count,
            execution_count=message.execution_count,
            success=_duration(sums.success),
            fail=_duration(sums.fail),
            queue=_duration(sums.queue),
            compute_input=_duration(sums.compute_input),
            compute_infer=_duration(sums.compute_infer),
            compute_output=_duration(sums.compute_output),
            batches={
                batch.batch_size: BatchStatistics(
                    compute_input=_duration(batch.compute_input),
                    compute_infer=_duration(batch.compute_infer),
                    compute_output=_duration(batch.compute_output),
                )
                for batch in message.batch_stats
            },
        )


def _duration(message: pb.StatisticDuration) -> Duration:
    return Duration(count=message.count, ns=message.ns)
