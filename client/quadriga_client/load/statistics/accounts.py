"""What is due and has not ended: the requests that a measured time must not lose. Pure.

A server that stalls at the end of the measured time holds just the requests that tell of it. They belong to the row,
whose latencies are of what was due in its time; so the load is kept on until they have ended. Without it, they would
end in a server that has nothing else to do.
"""

import numpy as np

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, due_times
from quadriga_client.load.samples import Samples


def under_way(arrivals: Arrivals, samples: Samples, started_ns: int, until_ns: int) -> int:
    """How many requests that were due before a time are not among those that ended.

    Args:
        arrivals: Of the run.
        samples: All that ended until now.
        started_ns: When the run began.
        until_ns: The time; `samples` go up to it, or further.
    """
    before = samples.due < until_ns
    if isinstance(arrivals, ClosedLoop):  # each caller has one request at any time
        return arrivals.concurrency - int(np.sum(before & (samples.ended >= until_ns)))
    return len(due_times(arrivals, until_ns - started_ns)) - int(np.sum(before))
