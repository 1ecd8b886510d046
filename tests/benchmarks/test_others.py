"""What others took of the cores, from accounts with a known answer."""

from types import SimpleNamespace

import pytest
from study.others import Seconds, now, share


def test_a_share_is_what_was_spent_and_not_by_oneself() -> None:
    before = Seconds(all=1000.0, busy=400.0, own=7.0)
    after = Seconds(all=1200.0, busy=520.0, own=107.0)
    assert share(before, after) == pytest.approx(0.1)


def test_no_time_and_accounts_that_lag_have_no_share() -> None:
    same = Seconds(all=1.0, busy=1.0, own=1.0)
    assert share(same, same) == 0.0
    assert share(same, Seconds(all=11.0, busy=6.0, own=6.5)) == 0.0


def test_guests_are_not_counted_twice_and_waiting_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"user": 5.0, "nice": 1.0, "system": 2.0, "idle": 10.0, "iowait": 3.0, "steal": 4.0, "guest": 5.0}
    monkeypatch.setattr("psutil.cpu_times", lambda: SimpleNamespace(_asdict=lambda: times))
    found = now()
    assert (found.all, found.busy) == (25.0, 12.0)
    assert found.own > 0
