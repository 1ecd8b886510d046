"""What counts as growth of a process's memory: what comes once it rests, not what warms it up."""

from collections.abc import Iterator

import pytest
from process_figures import History, Holding

MB = 1_000_000


def history_of(memory: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """One that takes one sample more, each time that it is asked for."""
    history = History({"server": 1})
    for done, size in enumerate(memory):
        holding = Holding(size, 3, 1)
        monkeypatch.setattr(Holding, "of", lambda _, holding=holding: holding)
        history.sample(1000 * done)
        yield history


def test_memory_that_rests_after_a_while_grows_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = [40 * MB + step * MB for step in range(8)] + [47 * MB] * 8
    growing = [history.growing(8) for history in history_of(memory, monkeypatch) if len(history._done) >= 8]
    assert growing[0] == ["server"]
    assert growing[-1] == []


def test_a_leak_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = [40 * MB + (sample // 2) * MB for sample in range(40)]  # page by page, as an allocator takes it
    growing = [history.growing(8) for history in history_of(memory, monkeypatch) if len(history._done) >= 8]
    assert growing == [["server"]] * len(growing)


def test_what_is_measured_is_what_comes_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = history_of([40 * MB, 60 * MB, 80 * MB, 80 * MB, 81 * MB, 82 * MB], monkeypatch)
    for history, _ in zip(samples, range(3), strict=False):
        history.begin()
    *_, history = samples
    (growth,) = history.growths()
    assert (growth.start, growth.end) == (80 * MB, 82 * MB)
    assert growth.bytes == 2 * MB


def test_without_a_warm_up_the_second_half_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, history = history_of([40 * MB, 60 * MB, 80 * MB, 80 * MB, 80 * MB, 80 * MB], monkeypatch)
    (growth,) = history.growths()
    assert growth.bytes == 0


def test_a_client_that_is_connected_now_and_then_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History({"server": 1})
    for descriptors in (9, 9, 9, 9, 13, 9, 9, 13):
        monkeypatch.setattr(Holding, "of", lambda _, descriptors=descriptors: Holding(MB, descriptors, 1))
        history.sample(0)
    assert history.more(lambda holding: holding.descriptors, 2) == {}
    assert history.more(lambda holding: holding.threads + len(history._done), -1) == {"server": (9, 9)}
