"""What running processes hold, as /proc tells it: memory, descriptors, threads; and whether it grows."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from figures import Figures
from running_server import open_files
from trend import trend

MB = 1e6


class Holding(NamedTuple):
    """What one process holds.

    Attributes:
        memory: Bytes that are in no file: its own, and its part of what it shares. What it has mapped of libraries
            depends on who else has, on the whole machine.
        descriptors: That are open.
        threads: Of it.
    """

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Holding":
        """As of now."""
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        sizes = dict(line.split()[:2] for line in rollup.splitlines()[1:])
        memory = int(sizes["Anonymous:"]) + int(sizes["Pss_Shmem:"])
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return cls(memory * 1024, len(open_files(pid)), threads)


class History:
    """Samples of some processes, taken as work is done."""

    def __init__(self, processes: dict[str, int]) -> None:
        """Of processes by what they are called, with their pids."""
        self._processes = processes
        self._done: list[int] = []
        self._samples: dict[str, list[Holding]] = {name: [] for name in processes}
        self._begin: int | None = None

    def sample(self, done: int) -> None:
        """Takes one sample of each, when so much is done."""
        self._done.append(done)
        for name, pid in self._processes.items():
            self._samples[name].append(Holding.of(pid))

    def growing(self, last: int) -> list[str]:
        """Processes whose memory grew over so many last samples, more surely than chance would have it."""
        growths = self._growths(max(len(self._done) - last, 0))
        return [growth.name for growth in growths if growth.low > 0]

    def begin(self) -> None:
        """What comes from now on is measured; all before was to warm up."""
        self._begin = len(self._done)

    def growths(self) -> "list[Growth]":
        """Since `begin`, or else of the second half: the first one is to warm up."""
        return self._growths(self._first)

    def more(self, of: Callable[[Holding], int], most: int) -> dict[str, tuple[int, int]]:
        """Processes that hold more than `most` more at the end of what is measured than at its beginning.

        The least of a quarter of the samples counts: in some of them a client is connected that is not in others.
        """
        some = max((len(self._done) - self._first) // 4, 1)
        ends = {
            name: (min(map(of, samples[self._first :][:some])), min(map(of, samples[-some:])))
            for name, samples in self._samples.items()
        }
        return {name: (first, last) for name, (first, last) in ends.items() if last > first + most}

    @property
    def _first(self) -> int:
        return len(self._done) // 2 if self._begin is None else self._begin

    def _growths(self, first: int) -> "list[Growth]":
        return [Growth.of(name, self._done[first:], samples[first:]) for name, samples in self._samples.items()]


class Growth(NamedTuple):
    """How a process's memory went while something was done again and again.

    Attributes:
        name: Of the process.
        start: Bytes at the beginning, the median of a tenth of the samples.
        end: At the end.
        slope: Bytes each time that it was done, by `trend`.
        low: Of its interval.
        high: Of it.
        times: How often it was done.
    """

    name: str
    start: float
    end: float
    slope: float
    low: float
    high: float
    times: int

    @classmethod
    def of(cls, name: str, done: list[int], samples: list[Holding]) -> "Growth":
        """From samples in their order."""
        memory = [float(sample.memory) for sample in samples]
        some = max(len(memory) // 10, 1)
        line = trend(done, memory)
        start, end = sorted(memory[:some])[some // 2], sorted(memory[-some:])[some // 2]
        return cls(name, start, end, *line, done[-1] - done[0])

    @property
    def bytes(self) -> float:
        """By which it grew, after the slope."""
        return self.slope * self.times

    def __str__(self) -> str:
        """For the table of figures."""
        return (
            f"{self.start / MB:.1f} to {self.end / MB:.1f} MB, {self.slope:+.2f} bytes each"
            f" ({self.low:+.2f} to {self.high:+.2f}), {self.bytes / MB:+.2f} MB in {self.times:,}"
        )


def check_growth(
    figures: Figures, promise: str, what: str, growths: Iterable[Growth], share: float, least: int
) -> None:
    """Takes the growth of memory down, and holds it against a share of what a process has, or so many bytes."""
    too_much = []
    for growth in growths:
        bound = max(share * growth.start, least)
        figures.add(promise, f"{growth.name}, {what}", str(growth), f"< {bound / MB:.1f} MB")
        if growth.bytes >= bound:
            too_much.append(f"{growth.name}: {growth}")
    assert not too_much, too_much
