"""Bytes in hand: a message more is refused beyond the limit, unless it is the only one."""

from collections import Counter
from pathlib import Path

import psutil
import pytest

from quadriga.transports import pending_bytes
from quadriga.transports.pending_bytes import PendingBytes, default_most_bytes


def nothing() -> None:
    """Drops no work."""


def test_beyond_the_limit_messages_are_refused_and_counted() -> None:
    refused: Counter[tuple[str, str]] = Counter()
    pending = PendingBytes(100, refused, nothing)
    pending.now = 60
    assert pending.refusal(40) is None
    error = pending.refusal(41)
    assert error is not None
    assert (error.code, str(error).partition(";")[0]) == (
        "UNAVAILABLE",
        "the server has 60 bytes of requests in hand, and 41 more pass its limit of 100",
    )
    assert refused == {("UNAVAILABLE", "overloaded"): 1}


def test_one_message_alone_is_taken_whatever_its_size() -> None:
    assert PendingBytes(100, Counter(), nothing).refusal(1_000) is None


def test_bytes_of_callers_who_have_gone_count_until_their_work_is_dropped() -> None:
    looks = []

    def drop_dead() -> None:
        looks.append(pending.abandoned)
        pending.drop(pending.abandoned - 30)  # those run

    pending = PendingBytes(100, Counter(), drop_dead)
    pending.now = 90
    pending.abandon(80)
    assert pending.refusal(10) is None
    assert looks == []
    assert pending.refusal(60) is None
    assert (pending.now, pending.abandoned, looks) == (40, 30, [80])
    assert pending.refusal(61) is not None
    assert looks == [80]  # for what runs nobody looks again
    pending.abandon(10)
    assert pending.refusal(61) is None
    assert (pending.now, looks) == (30, [80, 40])


def test_the_default_is_a_quarter_of_the_memory_or_of_the_containers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unlimited, limited = tmp_path / "unlimited", tmp_path / "limited"
    unlimited.write_text("max\n")
    limited.write_text("4000000\n")
    monkeypatch.setattr(pending_bytes, "_CGROUP_LIMITS", (tmp_path / "missing", unlimited))
    assert default_most_bytes() == psutil.virtual_memory().total // 4
    monkeypatch.setattr(pending_bytes, "_CGROUP_LIMITS", (unlimited, limited))
    assert default_most_bytes() == 1_000_000
