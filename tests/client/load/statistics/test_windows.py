"""Cutting samples into windows."""

import numpy as np
import numpy.typing as npt

from quadriga_client.load.arrivals import ClosedLoop, Constant
from quadriga_client.load.samples import Samples
from quadriga_client.load.statistics.windows import LEAST_REQUESTS, LONGEST, Cutter, least_requests

MS = 1_000_000
SECOND = 1_000_000_000


def samples(ended: npt.ArrayLike, code: int = 0, latency: int = MS) -> Samples:
    ends = np.asarray(ended, np.int64)
    return Samples(ends - latency, ends - latency, ends, np.full(len(ends), code, np.uint8))


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
