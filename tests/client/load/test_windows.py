"""Cutting samples into windows, and the rules by which windows agree."""

import numpy as np
import numpy.typing as npt
import pytest

from quadriga_client.load.arrivals import ClosedLoop, Constant
from quadriga_client.load.samples import Samples
from quadriga_client.load.windows import (
    LEAST_REQUESTS,
    LONGEST,
    QUIET_REQUESTS,
    Cut,
    Cutter,
    Decision,
    Verdict,
    WarmUp,
    least_requests,
)

MS = 1_000_000
SECOND = 1_000_000_000


def samples(ended: npt.ArrayLike, code: int = 0, latency: int = MS) -> Samples:
    ends = np.asarray(ended, np.int64)
    return Samples(ends - latency, ends - latency, ends, np.full(len(ends), code, np.uint8))


def window(requests: int, p99_ms: float, number: int = 0) -> Cut:
    """One second in which so many were answered, the slower half of them as slow as that."""
    latencies = np.full(requests, MS, np.int64)
    latencies[requests // 2 :] = round(p99_ms * MS)
    return Cut(number * SECOND, (number + 1) * SECOND, latencies)


def warm_up(most: int = 20, tolerance: float = 0.1) -> WarmUp:
    return WarmUp(agreeing=3, tolerance=tolerance, most=most, least=LEAST_REQUESTS)


def decisions(warm_up: WarmUp, *windows: tuple[int, float]) -> list[Decision]:
    return [warm_up.push(window(*figures, number)) for number, figures in enumerate(windows)]


GO_ON = Decision(Verdict.GO_ON, 0)


def test_a_window_has_what_ended_in_it() -> None:
    cutter = Cutter(0, 1.0, 2)
    cutter.add(samples([0, 5 * MS, SECOND, SECOND + 1]), cutter.next_ns)
    assert cutter.full
    cut = cutter.close()
    assert (cut.begin_ns, cut.end_ns, cut.seconds) == (0, SECOND, 1.0)
    assert (cut.throughput, cut.p99_ms) == (2.0, 1.0)
    cutter.add(samples([SECOND + 2]), cutter.next_ns)
    assert cutter.close().throughput == 3.0  # with those that came early, to the first window


def test_windows_lengthen_until_they_hold_enough() -> None:
    cutter = Cutter(0, 0.5, 3)
    cutter.add(samples([1, 2]), cutter.next_ns)
    assert not cutter.full
    cutter.add(samples([]), cutter.next_ns)
    assert not cutter.full
    cutter.add(samples([SECOND + 1]), cutter.next_ns)
    assert cutter.full
    assert cutter.close().seconds == 1.5
    assert cutter.next_ns == 2 * SECOND


def test_windows_lengthen_only_so_far() -> None:
    cutter = Cutter(0, 1.0, 3)
    lengths = 0
    while not cutter.full:
        cutter.add(Samples.none(), cutter.next_ns)
        lengths += 1
    assert lengths == LONGEST
    cut = cutter.close()
    assert (cut.seconds, cut.throughput, cut.p99_ms) == (LONGEST, 0.0, None)


def test_failures_fill_a_window_and_are_no_answers() -> None:
    cutter = Cutter(0, 1.0, 3)
    cutter.add(samples([1, 2, 3], code=14), cutter.next_ns)
    assert cutter.full
    cut = cutter.close()
    assert (cut.throughput, cut.p99_ms) == (0.0, None)


def test_a_window_of_a_closed_loop_has_a_request_of_each_caller() -> None:
    assert least_requests(ClosedLoop(1)) == LEAST_REQUESTS
    assert least_requests(ClosedLoop(400)) == 400
    assert least_requests(Constant(1000.0)) == LEAST_REQUESTS


def test_three_windows_in_a_row_end_the_warm_up() -> None:
    found = decisions(warm_up(), (2000, 9.0), (3000, 5.0), (3100, 5.2), (3050, 5.4))
    assert found == [GO_ON, GO_ON, GO_ON, Decision(Verdict.AGREED, 1)]


@pytest.mark.parametrize(
    "windows",
    [
        [(2000, 5.0), (2000, 5.0), (2201, 5.0)],
        [(2000, 5.0), (2000, 5.6), (2000, 5.0)],
        [(2000, 5.0), (2150, 5.0), (2210, 5.0)],
    ],
    ids=["throughput", "p99", "step by step"],
)
def test_windows_further_apart_than_the_tolerance_do_not_agree(windows: list[tuple[int, float]]) -> None:
    assert decisions(warm_up(), *windows)[-1] == GO_ON
    assert decisions(warm_up(tolerance=0.2), *windows)[-1].verdict is Verdict.AGREED


def test_a_server_that_creeps_is_taken_for_a_steady_one() -> None:
    """The limit of the rule: by 4 % a window is within 10 % in three."""
    assert decisions(warm_up(), (2000, 5.0), (2080, 4.8), (2160, 4.6))[-1].verdict is Verdict.AGREED


def test_a_server_that_never_agrees_is_unstable_and_its_last_three_windows_are_taken() -> None:
    found = decisions(warm_up(most=5), *((round(2000 * 1.2**number), 5.0) for number in range(5)))
    assert found == [*[GO_ON] * 4, Decision(Verdict.UNSTABLE, 2)]


def test_a_server_that_goes_to_and_fro_is_unstable() -> None:
    found = decisions(warm_up(most=20), *((2000 + number % 2 * 1000, 5.0) for number in range(20)))
    assert found == [*[GO_ON] * 19, Decision(Verdict.UNSTABLE, 17)]


def test_noise_of_short_windows_is_evened_out_by_groups_of_two() -> None:
    found = decisions(warm_up(), *((100 + number % 2 * 40, 5.0) for number in range(6)))
    assert found == [*[GO_ON] * 5, Decision(Verdict.AGREED, 0)]


def test_noise_of_short_windows_is_evened_out_by_groups_of_four() -> None:
    found = decisions(warm_up(), *(((100, 130, 190, 160)[number % 4], 5.0) for number in range(12)))
    assert found == [*[GO_ON] * 11, Decision(Verdict.AGREED, 0)]


def test_groups_do_not_hide_what_is_more_than_noise() -> None:
    many = QUIET_REQUESTS
    found = decisions(warm_up(), *((many + number % 2 * many, 5.0) for number in range(19)))
    assert {each.verdict for each in found} == {Verdict.GO_ON}


def test_groups_do_not_hide_a_drift() -> None:
    found = decisions(warm_up(), *((round(60 * 1.07**number), 5.0) for number in range(20)))
    assert {each.verdict for each in found[:-1]} == {Verdict.GO_ON}
    assert found[-1].verdict is Verdict.UNSTABLE


def test_windows_with_few_answers_agree_only_as_groups() -> None:
    few = LEAST_REQUESTS - 10
    assert decisions(warm_up(), *[(few, 5.0)] * 6) == [*[GO_ON] * 5, Decision(Verdict.AGREED, 0)]


def test_three_windows_without_an_answer_end_the_run() -> None:
    found = decisions(warm_up(), (2000, 5.0), (0, 0.0), (0, 0.0), (0, 0.0))
    assert found == [*[GO_ON] * 3, Decision(Verdict.SILENT, 1)]


def test_a_pause_of_two_windows_does_not_end_the_run() -> None:
    found = decisions(warm_up(), (0, 0.0), (0, 0.0), (2000, 5.0), (0, 0.0))
    assert found == [GO_ON] * 4
