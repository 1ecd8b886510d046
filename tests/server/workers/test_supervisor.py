"""The back-off between restarts; the rest of supervision is shown by the system tests on real workers."""

from quadriga.workers.supervisor import LONGEST_BACKOFF_SECONDS, SOUND_SECONDS, Backoff


def test_the_first_restart_is_immediate_and_further_ones_wait_longer() -> None:
    backoff = Backoff()
    assert [backoff.next_delay(1.0) for _ in range(4)] == [0.0, 0.5, 1.0, 2.0]


def test_the_wait_has_a_limit() -> None:
    backoff = Backoff()
    delays = [backoff.next_delay(0.0) for _ in range(2000)]
    assert max(delays) == delays[-1] == LONGEST_BACKOFF_SECONDS


def test_a_worker_that_lived_long_starts_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.next_delay(0.0)
    assert backoff.next_delay(SOUND_SECONDS) == 0.0
    assert backoff.next_delay(1.0) == 0.5
