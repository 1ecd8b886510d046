"""Faults of deadlines, delays and departures."""

from typing import Any

from quadriga import batching, requests
from quadriga.batching import BatchQueue
from quadriga.expiry import ExpiryTimer
from quadriga.scheduler import Scheduler
from scheduling_faults.table import Faults, Patch, around, nothing

FAULTS = Faults()


@FAULTS.add
def deadlines_are_not_watched(patch: Patch) -> None:
    patch.setattr(ExpiryTimer, "watch", nothing)


@FAULTS.add
def deadlines_are_watched_only_until_the_first_of_them(patch: Patch) -> None:
    around(patch, BatchQueue, "next_expiry", lambda old, self: None)


@FAULTS.add
def the_dead_are_run(patch: Patch) -> None:
    patch.setattr(batching, "is_dead", lambda entry, now: False)


@FAULTS.add
def the_dead_are_run_again(patch: Patch) -> None:
    patch.setattr(requests, "is_dead", lambda entry, now: False)


@FAULTS.add
def delays_never_end(patch: Patch) -> None:
    patch.setattr(Scheduler, "_wake_at", nothing)


@FAULTS.add
def delays_are_not_waited_for(patch: Patch) -> None:
    around(patch, BatchQueue, "due", lambda old, self, now: None if old(self, now) is None else now)


@FAULTS.add
def the_queues_own_timeout_is_ignored(patch: Patch) -> None:
    around(
        patch, Scheduler, "submit", lambda old, self, request, priority: _without_timeouts(old, self, request, priority)
    )


def _without_timeouts(old: Any, self: Any, request: Any, priority: int) -> None:
    self._admissions = [admission._replace(reject_after_ns=0) for admission in self._admissions]
    old(self, request, priority)
