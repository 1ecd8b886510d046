"""Faults in what is done about requests that cost workers."""

from typing import Any

from quadriga import retries
from quadriga.guilty_requests import GuiltyRequests
from quadriga.requests import Batch
from quadriga.retries import Retries
from quadriga.scheduler import Scheduler
from quadriga.workers.watchdog import Watchdog
from quadriga.workers.worker import Worker
from scheduling_faults.table import Faults, Patch, around, nothing

FAULTS = Faults()


@FAULTS.add
def a_request_is_refused_at_once_that_was_there_when_a_worker_was_lost(patch: Patch) -> None:
    patch.setattr(retries, "MAX_LOSSES", 1)


@FAULTS.add
def a_request_costs_one_worker_more(patch: Patch) -> None:
    patch.setattr(retries, "MAX_LOSSES", 3)


@FAULTS.add
def a_whole_batch_is_guilty(patch: Patch) -> None:
    def judge(batch: Batch, *, hung: bool) -> retries.Verdict:
        batch.losses += 1
        return retries.Verdict.GUILTY if batch.losses > 1 else retries.Verdict.AGAIN

    patch.setattr(retries, "judge", judge)


@FAULTS.add
def a_batch_fails_as_a_whole_when_the_backend_raises(patch: Patch) -> None:
    patch.setattr(Retries, "raised", lambda self, batch, error, now: self._answers.fail_batch(batch, error))


@FAULTS.add
def a_part_of_a_divided_batch_is_lost(patch: Patch) -> None:
    around(patch, Batch, "divided", lambda old, self: old(self)[:-1])


@FAULTS.add
def parts_are_no_suspects(patch: Patch) -> None:
    def divided(old: Any, self: Batch) -> list[Batch]:
        parts: list[Batch] = old(self)
        for part in parts:
            part.losses = 0
        return parts

    around(patch, Batch, "divided", divided)


@FAULTS.add
def suspects_do_not_go_first(patch: Patch) -> None:
    patch.setattr(Retries, "_put", lambda self, batch: self._innocent.append(batch))


@FAULTS.add
def suspects_wait_behind_others(patch: Patch) -> None:
    patch.setattr(Retries, "suspect_next", False)


@FAULTS.add
def others_wait_behind_suspects(patch: Patch) -> None:
    class Forgetful(set[Any]):
        def add(self, worker: Any) -> None:
            """Does not."""

    _quarantine_in(patch, Forgetful)


@FAULTS.add
def a_suspect_is_never_done_with(patch: Patch) -> None:
    class Unforgiving(set[Any]):
        def discard(self, worker: Any) -> None:
            """Does not."""

    _quarantine_in(patch, Unforgiving)


def _quarantine_in(patch: Patch, kind: type[set[Any]]) -> None:
    def make(old: Any, self: Any, *values: Any) -> None:
        old(self, *values)
        self._quarantined = kind()

    around(patch, Scheduler, "__init__", make)


@FAULTS.add
def what_is_known_is_tried_again(patch: Patch) -> None:
    patch.setattr(GuiltyRequests, "knows", lambda self, request, now: False)


@FAULTS.add
def one_offence_is_enough(patch: Patch) -> None:
    patch.setattr("quadriga.guilty_requests.OFFENCES", 1)


@FAULTS.add
def deadlines_of_what_is_tried_again_are_not_kept(patch: Patch) -> None:
    patch.setattr(Retries, "next_expiry", lambda self: None)


@FAULTS.add
def nobody_notices_that_a_worker_hangs(patch: Patch) -> None:
    patch.setattr(Watchdog, "begin", nothing)


@FAULTS.add
def the_watchdog_barks_too_early(patch: Patch) -> None:
    around(patch, Watchdog, "__init__", lambda old, self, seconds, on_hung: old(self, seconds / 2, on_hung))


@FAULTS.add
def what_a_dying_worker_said_is_not_heard(patch: Patch) -> None:
    patch.setattr(Worker, "_hear_out", nothing)
