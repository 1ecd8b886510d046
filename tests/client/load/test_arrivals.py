"""Schedules: their distributions, their division among processes, and recorded ones."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from quadriga_client.load.arrivals import (
    CHUNK,
    LEAST_RATE,
    Arrivals,
    ClosedLoop,
    Constant,
    OpenLoop,
    Poisson,
    Trace,
    check,
    due_times,
    read_trace,
    schedule,
)
from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Times

SECOND = 1_000_000_000
TRACE = Trace((0, 5, 5, 20, 40), Path("trace.txt"))


def first(arrivals: OpenLoop, count: int, index: int = 0, processes: int = 1) -> Times:
    return np.fromiter(itertools.islice(schedule(arrivals, index, processes), count), np.int64, count)


@pytest.mark.parametrize("rate", [3.0, 2000.0])
def test_gaps_of_poisson_arrivals_are_exponential(rate: float) -> None:
    gaps = np.diff(first(Poisson(rate, seed=1), 20_000), prepend=0) / SECOND
    assert gaps.mean() == pytest.approx(1 / rate, rel=4 / math.sqrt(20_000))  # four standard errors
    assert stats.kstest(gaps, "expon", args=(0, 1 / rate)).pvalue > 0.01


def test_counts_of_poisson_arrivals_are_poisson() -> None:
    due = first(Poisson(100.0, seed=2), 100_000)
    counts = np.bincount(due // SECOND)[:900]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=4 * math.sqrt(2 / 900))  # index of dispersion
    expected = stats.poisson(100).ppf([0.2, 0.4, 0.6, 0.8])
    shares = np.diff([0, *(np.mean(counts <= each) for each in expected), 1])
    wanted = np.diff([0, *stats.poisson(100).cdf(expected), 1])
    assert stats.chisquare(shares * 900, wanted * 900).pvalue > 0.01


def test_gaps_do_not_depend_on_those_before() -> None:
    gaps = np.diff(first(Poisson(50.0, seed=4), 20_000))
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 4 / math.sqrt(20_000)


def test_a_seed_makes_a_schedule() -> None:
    assert np.array_equal(first(Poisson(9.0, seed=5), 3000), first(Poisson(9.0, seed=5), 3000))
    assert not np.array_equal(first(Poisson(9.0, seed=5), 10), first(Poisson(9.0, seed=6), 10))


def test_constant_gaps_do_not_drift() -> None:
    due = first(Constant(3000.0), 3 * CHUNK)
    assert set(np.diff(due).tolist()) <= {333_333, 333_334}
    assert due[3000] == SECOND


@pytest.mark.parametrize("arrivals", [Poisson(500.0, seed=7), Constant(500.0), TRACE])
@pytest.mark.parametrize("processes", [2, 3, 7])
def test_processes_share_one_schedule(arrivals: OpenLoop, processes: int) -> None:
    parts = [first(arrivals, 2 * CHUNK, index, processes) for index in range(processes)]
    assert np.array_equal(np.stack(parts, axis=1).ravel(), first(arrivals, 2 * CHUNK * processes))


def test_a_trace_starts_over_after_its_mean_gap() -> None:
    assert first(TRACE, 12).tolist() == [0, 5, 5, 20, 40, 50, 55, 55, 70, 90, 100, 105]
    late = Trace((100, 110), Path("late.txt"))
    assert first(late, 4).tolist() == [100, 110, 220, 230]


def test_a_long_trace_is_repeated_as_it_is() -> None:
    offsets = tuple(range(0, 10 * (CHUNK + 10), 10))
    due = first(Trace(offsets, Path("long.txt")), 2 * len(offsets))
    assert set(np.diff(due).tolist()) == {10}


def test_a_trace_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("# seconds\n\n0\n 0.25 \n0.25\n1e1\n")
    assert read_trace(path) == Trace((0, SECOND // 4, SECOND // 4, 10 * SECOND), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\nsoon\n", "line 2: 'soon' came; expected seconds"),
        ("0,1\n", "line 1: '0,1' came"),
        ("0\n-1\n", "line 2: '-1' came"),
        ("nan\n", "line 1: 'nan' came"),
        ("0\ninf\n", "line 2: 'inf' came"),
        ("1\n# and\n0.5\n", "line 3: 0.5 is earlier than the line before"),
        ("", "at least two times"),
        ("1\n", "at least two times"),
        ("1\n1\n", "at least two times"),
    ],
)
def test_a_bad_trace_is_an_error_that_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(text)
    with pytest.raises(LoadError, match=message) as caught:
        read_trace(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, message in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory"), (binary, "it is no text")):
        with pytest.raises(LoadError, match=message):
            read_trace(path)


@pytest.mark.parametrize(
    ("arrivals", "message"),
    [
        (ClosedLoop(0), "at least 1 caller; 0 came"),
        (Poisson(0.0), "a rate of at least 0.001 requests per second; 0 came"),
        (Poisson(9e-4), "a rate of at least 0.001 requests per second; 0.0009 came"),
        (Poisson(math.inf), "inf came"),
        (Poisson(math.nan), "nan came"),
        (Constant(-3.0), "-3 came"),
        (Trace((), Path("t")), "at least two times"),
        (Trace((-1, 4), Path("t")), "at least two times"),
        (Trace((0, 9, 4, 10), Path("t")), "not in ascending order"),
    ],
)
def test_no_load_can_be_made_of_these(arrivals: Arrivals, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        check(arrivals)


@pytest.mark.parametrize("arrivals", [ClosedLoop(1), Poisson(0.1), Constant(1e5), TRACE])
def test_of_these_it_can(arrivals: Arrivals) -> None:
    check(arrivals)


@pytest.mark.parametrize("arrivals", [Poisson(3000.0, 5), Constant(3000.0), Trace((0, 1, SECOND), Path("day.txt"))])
def test_what_is_due_before_a_time_is_the_begin_of_the_schedule(arrivals: OpenLoop) -> None:
    found = due_times(arrivals, SECOND).tolist()
    assert found == list(itertools.takewhile(lambda due: due < SECOND, schedule(arrivals)))
    assert len(due_times(arrivals, 0)) == 0


@pytest.mark.parametrize("arrivals", [Poisson(LEAST_RATE), Constant(LEAST_RATE)])
def test_the_least_rate_has_times(arrivals: OpenLoop) -> None:
    times = first(arrivals, 2 * CHUNK)
    assert (np.diff(times) >= 0).all()
    assert times[-1] == pytest.approx(2 * CHUNK / LEAST_RATE * SECOND, rel=0.1)
