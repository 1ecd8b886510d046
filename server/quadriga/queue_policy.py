"""How one model's requests wait and are joined: `dynamic_batching` of its configuration. Runs in the server process.

Values only, with their defaults and limits: `batching` and `scheduler` act on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NamedTuple, get_args

from quadriga.errors import ConfigError
from quadriga.limits import Limits, check_choice, check_limits, check_range
from quadriga.units import MICROSECOND_NS
from quadriga_proto.model_config_pb2 import ModelDynamicBatching, ModelQueuePolicy

#: Requests waiting per model, or per priority level where it has several.
DEFAULT_MAX_QUEUE_SIZE: Final = 1024

TimeoutAction = Literal["reject", "delay"]

_LIMITS: Final[dict[str, Limits]] = {
    "max_queue_delay_microseconds": (0, 60_000_000),
    "max_queue_size": (1, 1_000_000),
    "default_timeout_microseconds": (0, 86_400_000_000),
    "priority_levels": (0, 256),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """How the requests of one priority level wait.

    Attributes:
        timeout_action: What becomes of a request that has waited for `default_timeout_us`: it is refused, or goes
            behind all others of its level that have not waited as long.
        default_timeout_us: In microseconds; 0: none.
        allow_timeout_override: Only shown, to clients that read a Triton configuration: a request's `timeout` counts
            in any case.
        max_queue_size: Requests that may wait; one more is refused.
    """

    timeout_action: TimeoutAction = "reject"
    default_timeout_us: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = DEFAULT_MAX_QUEUE_SIZE

    def __post_init__(self) -> None:
        check_choice("timeout_action", self.timeout_action, get_args(TimeoutAction))
        check_limits("default_timeout_microseconds", self.default_timeout_us, _LIMITS)
        check_limits("max_queue_size", self.max_queue_size, _LIMITS)

    @property
    def reject_after_us(self) -> int:
        """How long a request may wait before it is refused, in microseconds; 0: for ever."""
        return self.default_timeout_us if self.timeout_action == "reject" else 0

    @property
    def postpone_after_us(self) -> int:
        """How long a request may wait before others overtake it, in microseconds; 0: for ever."""
        return self.default_timeout_us if self.timeout_action == "delay" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicBatching:
    """What a model's configuration says of queueing and joining requests.

    Attributes:
        preferred_batch_sizes: Rows at which a batch does not wait for its delay; empty: those of the largest batch.
        max_queue_delay_us: Longest wait of a batch's first request for others to join.
        preserve_ordering: Batches are answered in the order in which they were formed, whatever instance runs them.
        priority_levels: How many there are, 1 the highest; 0: requests have no priority.
        default_priority_level: Of requests that name none or one that is not there; 0 without levels.
        queue: Of every level that has no policy of its own.
        level_queues: Policies by level.

    Raises:
        ConfigError: A value is out of range, or does not go with the others.
    """

    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_us: int = 0
    preserve_ordering: bool = False
    priority_levels: int = 0
    default_priority_level: int = 0
    queue: QueuePolicy = QueuePolicy()
    level_queues: Mapping[int, QueuePolicy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_limits("max_queue_delay_microseconds", self.max_queue_delay_us, _LIMITS)
        check_limits("priority_levels", self.priority_levels, _LIMITS)
        if self.priority_levels:
            check_range("default_priority_level", self.default_priority_level, (1, self.priority_levels))
        elif self.default_priority_level or self.level_queues:
            key = "default_priority_level" if self.default_priority_level else "priority_queue_policy"
            raise ConfigError(f"{key} is given without levels; set priority_levels, or leave {key} out")
        for level in self.level_queues:
            check_range("a key of priority_queue_policy", level, (1, self.priority_levels))
        for size in self.preferred_batch_sizes:
            if size < 1:
                raise ConfigError(f"preferred_batch_size has {size}; expected sizes from 1 to max_batch_size")

    def level_of(self, priority: int) -> int:
        """The level of a request by its `priority` parameter; 0 where there are no levels."""
        return priority if 0 < priority <= self.priority_levels else self.default_priority_level

    def queue_of(self, level: int) -> QueuePolicy:
        """The policy of a level."""
        return self.level_queues.get(level, self.queue)

    def with_batches_of(self, max_batch_size: int) -> "BatchPolicy":
        """The same for batches of so many rows at most; 0: the model does not batch, and waits for no others.

        Raises:
            ConfigError: A preferred size is larger.
        """
        self.check_preferred(max_batch_size)
        values: dict[str, Any] = {value.name: getattr(self, value.name) for value in fields(self)}
        if not max_batch_size:
            values["max_queue_delay_us"] = 0
        return BatchPolicy(max_batch_size=max_batch_size, **values)

    def check_preferred(self, max_batch_size: int) -> None:
        """Makes sure that every preferred size can be had.

        Raises:
            ConfigError: One is larger than `max_batch_size`.
        """
        for size in self.preferred_batch_sizes:
            if size > max_batch_size:
                expected = f"sizes up to max_batch_size, {max_batch_size}" if max_batch_size else "none"
                why = "" if max_batch_size else ": the model does not batch"
                raise ConfigError(f"preferred_batch_size has {size}; expected {expected}{why}")

    def to_message(self) -> ModelDynamicBatching:
        """As the configuration's own message has it."""
        message = ModelDynamicBatching(
            preferred_batch_size=self.preferred_batch_sizes,
            max_queue_delay_microseconds=self.max_queue_delay_us,
            preserve_ordering=self.preserve_ordering,
            priority_levels=self.priority_levels,
            default_priority_level=self.default_priority_level,
            default_queue_policy=_queue_message(self.queue),
        )
        for level, queue in self.level_queues.items():
            message.priority_queue_policy[level].CopyFrom(_queue_message(queue))
        return message


class Admission(NamedTuple):
    """What becomes of a new request.

    Attributes:
        level: In which it waits; 0 where there are no levels.
        max_queue_size: Requests that may wait there.
        reject_after_ns: How long it may wait there; 0: for ever.
    """

    level: int
    max_queue_size: int
    reject_after_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy(DynamicBatching):
    """What the scheduler of one model version runs with.

    Attributes:
        max_batch_size: Rows per batch; 0: the model does not batch, one request per execution.
    """

    max_batch_size: int

    def admissions(self) -> list[Admission]:
        """What becomes of new requests, by their `priority` parameter; those beyond the end are treated like 0."""
        levels = [self.level_of(priority) for priority in range(self.priority_levels + 1)]
        return [
            Admission(level, queue.max_queue_size, queue.reject_after_us * MICROSECOND_NS)
            for level, queue in [(level, self.queue_of(level)) for level in levels]
        ]

    @property
    def one_line(self) -> bool:
        """Whether all requests wait in one line, in the order of their arrival."""
        return not self.priority_levels and not self.queue.postpone_after_us


def read_batching(message: ModelDynamicBatching) -> DynamicBatching:
    """The values of a configuration's message.

    Raises:
        ConfigError: See `DynamicBatching`; names the key, what came and what was expected.
    """
    return DynamicBatching(
        preferred_batch_sizes=tuple(message.preferred_batch_size),
        max_queue_delay_us=message.max_queue_delay_microseconds,
        preserve_ordering=message.preserve_ordering,
        priority_levels=message.priority_levels,
        default_priority_level=message.default_priority_level,
        queue=_read_queue("default_queue_policy", message.default_queue_policy),
        level_queues={
            level: _read_queue(f"priority_queue_policy {level}", queue)
            for level, queue in sorted(message.priority_queue_policy.items())
        },
    )


def _read_queue(key: str, message: ModelQueuePolicy) -> QueuePolicy:
    actions: dict[int, TimeoutAction] = {ModelQueuePolicy.REJECT: "reject", ModelQueuePolicy.DELAY: "delay"}
    action = actions.get(message.timeout_action)
    if action is None:
        known = ", ".join(ModelQueuePolicy.TimeoutAction.keys())
        raise ConfigError(f"{key}: timeout_action is {message.timeout_action}; expected one of {known}")
    try:
        return QueuePolicy(
            timeout_action=action,
            default_timeout_us=message.default_timeout_microseconds,
            allow_timeout_override=message.allow_timeout_override,
            max_queue_size=message.max_queue_size or DEFAULT_MAX_QUEUE_SIZE,
        )
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def _queue_message(queue: QueuePolicy) -> ModelQueuePolicy:
    return ModelQueuePolicy(
        timeout_action=ModelQueuePolicy.DELAY if queue.timeout_action == "delay" else ModelQueuePolicy.REJECT,
        default_timeout_microseconds=queue.default_timeout_us,
        allow_timeout_override=queue.allow_timeout_override,
        max_queue_size=queue.max_queue_size,
    )
