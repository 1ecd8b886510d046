"""Dynamic batching and its queues as values: their limits, and what priorities and timeouts mean."""

from typing import Any

import pytest

from quadriga.errors import ConfigError
from quadriga.queue_policy import DynamicBatching, QueuePolicy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_queue_delay_us": 60_000_001}, "max_queue_delay_microseconds is 60000001"),
        ({"preferred_batch_sizes": (4, 0)}, "preferred_batch_size has 0; expected sizes from 1"),
        ({"priority_levels": 257}, "priority_levels is 257; expected 0 to 256"),
        ({"priority_levels": 2}, "default_priority_level is 0; expected 1 to 2"),
        ({"priority_levels": 2, "default_priority_level": 3}, "default_priority_level is 3; expected 1 to 2"),
        ({"default_priority_level": 1}, "default_priority_level is given without levels"),
        ({"level_queues": {1: QueuePolicy()}}, "priority_queue_policy is given without levels"),
        (
            {"priority_levels": 2, "default_priority_level": 1, "level_queues": {3: QueuePolicy()}},
            "a key of priority_queue_policy is 3; expected 1 to 2",
        ),
    ],
)
def test_bad_values_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DynamicBatching(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_queue_size": 0}, "max_queue_size is 0; expected 1 to"),
        ({"default_timeout_us": -1}, "default_timeout_microseconds is -1"),
        ({"timeout_action": "drop"}, "timeout_action is 'drop'; expected one of reject, delay"),
    ],
)
def test_bad_queues_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        QueuePolicy(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(("priority", "level"), [(0, 2), (1, 1), (2, 2), (3, 3), (4, 2), (2**64 - 1, 2)])
def test_a_priority_that_is_no_level_is_the_default_one(priority: int, level: int) -> None:
    batching = DynamicBatching(priority_levels=3, default_priority_level=2)
    assert batching.level_of(priority) == level


def test_levels_without_a_policy_of_their_own_have_the_default_one() -> None:
    own, default = QueuePolicy(max_queue_size=1), QueuePolicy(max_queue_size=2)
    batching = DynamicBatching(priority_levels=2, default_priority_level=1, queue=default, level_queues={2: own})
    assert [batching.queue_of(level) for level in (1, 2)] == [default, own]


def test_a_timeout_either_refuses_or_postpones() -> None:
    reject, delay = (QueuePolicy(timeout_action=action, default_timeout_us=7) for action in ("reject", "delay"))
    assert (reject.reject_after_us, reject.postpone_after_us) == (7, 0)
    assert (delay.reject_after_us, delay.postpone_after_us) == (0, 7)
