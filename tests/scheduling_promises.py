"""What scheduling promises, each as a check of what is known of a simulated world; in the process of pytest.

`check_sent` looks at a batch at the moment a worker is given it; `check_settled` at everything, when the loop has
nothing left to do. Whatever is not as it was promised is noted as a fault of the `ObservedScheduler`.
"""

from batching_model import in_order, is_due, next_batch, rows_of
from observed_scheduler import ObservedScheduler
from simulated_call import SimulatedCall, Stage, call_of
from simulated_worker import SimulatedWorker

from quadriga.expiry import EXPIRY_STEP_NS
from quadriga.requests import Batch
from quadriga.workers.slab import SlotState
from quadriga.workers.worker import SLOTS


def check_settled(seen: ObservedScheduler) -> None:
    """Nothing is left undone that could be done, and everything is accounted for."""
    seen.dead_met = 0
    seen.hold_back_known()
    _check_queue(seen)
    _check_work(seen)
    _check_slots(seen)
    check_accounts(seen)
    _check_order(seen)


def check_sent(seen: ObservedScheduler, worker: SimulatedWorker, batch: Batch) -> None:
    """The worker is one that may get a batch, the batch is one, and its turn has come."""
    calls = [call_of(request) for request in batch.requests]
    rows = rows_of(calls)
    sent = f"sent: {calls}"
    seen.expect(worker in seen.workers and worker.free_slots > 0, f"the worker is not free; {sent}")
    seen.expect(bool(calls) and batch.rows == rows, f"a batch of {batch.rows} rows; {sent}")
    seen.expect(rows <= max(seen.policy.max_batch_size, 1), f"too many rows; {sent}")
    seen.expect(len({call.key for call in calls}) == 1, f"different shapes; {sent}")
    seen.expect(not any(call.dead(seen.now) for call in calls), f"nobody waits; {sent}")
    seen.expect(len({call.stage for call in calls}) == 1, f"new and old ones; {sent}")
    waiting = seen.in_stage(Stage.WAITING)
    behind = bool(worker.held) and not _second_batches(seen, len(waiting) + seen.dead_met)
    seen.expect(not behind, f"a batch waits behind another with too few for every worker; {sent}")
    seen.expect(not _runs_suspect(worker), f"its worker runs a suspect; {sent}")
    if calls[0].stage is Stage.WAITING:
        _check_first(seen, calls, waiting)
    else:
        _check_again(seen, worker, calls)


def check_accounts(seen: ObservedScheduler) -> None:
    """Whatever ended was counted, once."""
    counters, failed = seen.counters, len(seen.calls) - len(seen.open) - seen.answered
    counted = (counters.answered, counters.failed.total(), counters.total.count)
    seen.expect(counted == (seen.answered, failed, seen.answered), f"{counted}, not {seen.answered} and {failed}")


# ---- of a batch that is sent


def _check_first(seen: ObservedScheduler, calls: list[SimulatedCall], waiting: list[SimulatedCall]) -> None:
    """A new batch is the one whose turn it is, and due."""
    alive = in_order((call for call in waiting if not call.dead(seen.now)), seen.policy, seen.now)
    expected = next_batch(alive, seen.policy, seen.now) if alive else []
    seen.expect(calls == expected, f"sent: {calls}; expected {expected}")
    dead = seen.dead_met or len(alive) < len(waiting)  # they may have made it due
    seen.expect(bool(dead) or is_due(alive, seen.policy, seen.now), f"sent before it is due: {calls}")
    seen.expect(not _held_up(seen), "too many are held back for another batch")
    seen.hold_back_known()
    again = seen.in_stage(Stage.AGAIN)
    seen.expect(not again, f"sent: {calls}, before {again}")


def _check_again(seen: ObservedScheduler, worker: SimulatedWorker, calls: list[SimulatedCall]) -> None:
    """What is tried again are requests of one batch; suspects first, and by themselves."""
    sent = f"sent again: {calls}"
    seen.expect(all(call.stage is Stage.AGAIN for call in calls), f"not to be tried again; {sent}")
    seen.expect(len({call.place and call.place[0] for call in calls}) == 1, f"of different batches; {sent}")
    seen.expect(len({call.losses for call in calls}) == 1, f"suspects and others; {sent}")
    if calls[0].losses:
        seen.expect(not worker.held, f"suspects behind others; {sent}")
        return
    seen.hold_back_known()
    suspects = [call for call in seen.in_stage(Stage.AGAIN) if call.losses]
    seen.expect(not suspects, f"{sent}, before {suspects}")


# ---- of everything, when the loop is idle


def _check_queue(seen: ObservedScheduler) -> None:
    """All that wait are there, none too long, and not too many."""
    waiting, again = seen.in_stage(Stage.WAITING), seen.in_stage(Stage.AGAIN)
    seen.expect(seen.scheduler.waiting == len(waiting) + len(again), f"{seen.scheduler.waiting} wait")
    for call in waiting + again:
        noticed_ns = max(call.expires_ns, call.arrived_ns) + EXPIRY_STEP_NS
        seen.expect(not call.expires_ns or seen.now <= noticed_ns, f"the deadline of {call} has passed")
    for level in {call.level for call in waiting}:
        limit = seen.policy.queue_of(level).max_queue_size
        seen.expect(sum(call.level == level for call in waiting) <= limit, f"more than {limit} wait in {level}")


def _check_work(seen: ObservedScheduler) -> None:
    """No worker is free while there is a batch that it could run."""
    waiting, again = seen.in_stage(Stage.WAITING), seen.in_stage(Stage.AGAIN)
    free = [worker for worker in seen.workers if worker.free_slots and not _runs_suspect(worker)]
    suspects = any(call.losses for call in again)
    seconds = not suspects and _second_batches(seen, len(waiting))
    if not free or (all(worker.held for worker in free) and not seconds):
        return
    seen.expect(not again, f"a worker is free, and {again} wait to be tried again")
    if any(not call.dead(seen.now) for call in waiting) and not _held_up(seen):
        due = is_due(in_order(waiting, seen.policy, seen.now), seen.policy, seen.now)
        seen.expect(not due, f"a worker is free, and a batch of {waiting} is due")


def _check_slots(seen: ObservedScheduler) -> None:
    """A slot is taken for each batch that is held and for no other, and no batch runs too long."""
    at_workers: set[int] = set()
    for worker in seen.workers:
        at_workers.update(id(request.caller) for batch in worker.held for request in batch.requests)
        if not worker.gone:
            running = [slot.state is SlotState.RUNNING for slot in worker.slab.slots]
            free = [slot.state is SlotState.FREE for slot in worker.slab.slots]
            held = len(worker.held)
            counts = (sum(running), sum(free), worker.free_slots)
            seen.expect(counts == (held, SLOTS - held, SLOTS - held), f"{held} batches are held, slots: {counts}")
            hangs = seen.limit_ns and held and seen.now - worker.since_ns > seen.limit_ns
            seen.expect(not hangs, f"a batch runs since {worker.since_ns} and nobody notices")
    known = {id(call) for call in seen.in_stage(Stage.AT_WORKER)}
    seen.expect(at_workers == known, "workers hold other requests than they were sent")


def _check_order(seen: ObservedScheduler) -> None:
    """Whatever is done with has been answered, unless it waits for its turn."""
    first = min(seen.placed(), key=lambda call: call.place, default=None)
    for call in seen.in_stage(Stage.HELD):
        waits = seen.policy.preserve_ordering and call.place is not None and call is not first
        seen.expect(waits, f"{call} is not answered")


# ---- what both need


def _second_batches(seen: ObservedScheduler, waiting: int) -> bool:
    """Whether batches may be sent to wait behind those that run."""
    count = len(seen.workers)
    return count == 1 or waiting >= max(seen.policy.max_batch_size, 1) * count


def _runs_suspect(worker: SimulatedWorker) -> bool:
    """Whether a worker is to get nothing else meanwhile."""
    return any(call_of(batch.requests[0]).losses for batch in worker.held)


def _held_up(seen: ObservedScheduler) -> bool:
    """Whether too many batches wait for an earlier one to be answered."""
    return seen.scheduler._answers.held >= SLOTS * len(seen.workers)
