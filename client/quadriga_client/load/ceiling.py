"""What the generators could have seen at most: the same load on a server that answers at once.

Runs in the command's process. The echo server takes its share of the same cores, so a real server on another machine
can be given somewhat more than the ceiling says.
"""

from dataclasses import replace

import numpy as np

from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.engine.echo import EchoServer
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import Ceiling
from quadriga_client.load.status_codes import OK
from quadriga_client.load.target import LoadTarget


def measure_ceiling(
    target: LoadTarget, response: bytes, *, connections: int, processes: int, concurrency: int, seconds: float = 1.0
) -> Ceiling:
    """A closed loop against an echo server, after as long a one that warms up.

    Args:
        target: Its requests and timeout are used; nothing is sent to its server, and no TLS is spoken.
        response: What the server answers.
        connections: Of all processes together.
        processes: Of the fleet.
        concurrency: Callers.
        seconds: What is measured.

    Raises:
        LoadError: The processes do not start, or an answer was none.
    """
    with EchoServer(response) as server:
        echoed = replace(target, url=server.url, tls=None, metadata=())
        with Fleet(echoed, connections=connections, processes=processes) as fleet:
            run = fleet.start(ClosedLoop(concurrency))
            begin_ns = run.started_ns + round(seconds * 1e9)
            run.collect(begin_ns)
            samples = run.collect(begin_ns + round(seconds * 1e9))
            run.finish()
    good = samples.codes == OK
    if not len(good) or not good.all():
        raise LoadError(f"{np.sum(~good)} of {len(good)} calls to the echo server failed; it needs a longer timeout")
    latencies = samples.ended - samples.due
    return Ceiling(
        throughput=len(good) / seconds, p99_ms=float(np.percentile(latencies, 99)) / 1e6, concurrency=concurrency
    )
