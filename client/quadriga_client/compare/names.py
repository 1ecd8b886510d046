"""How things of a comparison are called in texts. Pure."""

from collections.abc import Sequence


def callers(concurrency: int) -> str:
    """A level."""
    return "1 caller" if concurrency == 1 else f"{concurrency} callers"


def cores(numbers: Sequence[int]) -> str:
    """Cores as `taskset -c` takes them, from ascending numbers: "0-3,6"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
