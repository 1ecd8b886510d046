"""How much of a processor this process takes. Pure but for the clocks."""

import time
from collections.abc import Callable


class CpuShare:
    """CPU time of all threads of this process, from the first mark to the last."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.process_time
    ) -> None:
        """With clocks in seconds: `cpu` is that of the process."""
        self._clock = clock
        self._cpu = cpu
        self._first: tuple[float, float] | None = None
        self._last = (0.0, 0.0)

    def mark(self) -> None:
        """Something was done; from any thread."""
        self._last = (self._clock(), self._cpu())
        if self._first is None:
            self._first = self._last

    @property
    def cores(self) -> float:
        """How many processors were busy with it, on average; 0 where no time has passed."""
        if self._first is None or self._last[0] <= self._first[0]:
            return 0.0
        return (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])
