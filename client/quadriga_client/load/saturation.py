"""Whether a row is the server's, or only shows what the generator could do. Pure.

Two things give a generator away:
- Its lag: how late it came to requests that were due. The p99 of the lag is compared with the p99 of the latency, not
  with its median. Latency is lag and service together, so where the generator is what requests queue for, their p99s
  are nearly the same whatever the server does, and where it is not, a hiccup of this machine that hits one request in
  a hundred is small beside the slowest hundredth. Next to a median below a millisecond, each such hiccup would be an
  alarm. Lags below `TIMER_MS` are no alarm either: that late is any process that sleeps until a request is due.
- Its rate: in an open loop, what it began is short of what was due by more than 3 %, and by more than one request.

In a closed loop there is neither; `scheduling.py` has what gives a generator away there.
"""

from typing import Final

import numpy as np

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, due_times

#: A wake-up of Linux: 50 us of timer slack, and as much for the scheduler and the generator's loop.
TIMER_MS: Final = 0.1
_SENT_SHARE: Final = 0.97
ADVICE: Final = "the latencies are not the server's; use more processes, another machine, or less load"


def saturation(
    *, lag_p99_ms: float, latency_p99_ms: float | None, lag_share: float, begun: int, due: int
) -> str | None:
    """What shows that the generator fell behind, as a sentence; None where it did not.

    Args:
        lag_p99_ms: Of its requests.
        latency_p99_ms: Of the answered ones; None where none were.
        lag_share: What lag may be of latency.
        begun: Requests that the generator began in the measured time.
        due: Requests that were wanted in it, as `due_between` tells.
    """
    if begun < _SENT_SHARE * due - 1:
        return f"generator saturated: it began {begun} requests of the {due} that were due; {ADVICE}"
    if latency_p99_ms is not None and lag_p99_ms > TIMER_MS and lag_p99_ms > lag_share * latency_p99_ms:
        return (
            f"generator saturated: its own lag has a p99 of {lag_p99_ms:.3g} ms, over {lag_share:.0%} of the latency's "
            f"{latency_p99_ms:.3g} ms; {ADVICE}"
        )
    return None


def due_between(arrivals: Arrivals, begin_ns: int, end_ns: int) -> int:
    """How many requests are due in [begin, end), in ns from the start; in a closed loop nobody knows: 0."""
    if isinstance(arrivals, ClosedLoop):
        return 0
    times = due_times(arrivals, end_ns)
    return len(times) - int(np.searchsorted(times, begin_ns))
