"""How much is fuzzed, and from which seed; for the tests in tests/fuzz.

`make test` takes a few cases, always the same ones. `make fuzz` takes many, from a seed of its own that is printed:
with `QUADRIGA_FUZZ_SEED` set to it the same cases come again.
"""

import os
import random
from collections.abc import Callable
from typing import Any, Final

from hypothesis import HealthCheck, Phase, seed, settings

#: Damaged requests to each transport, and as many on a stream; other tests take a part of it.
CASES: Final = int(os.environ.get("QUADRIGA_FUZZ_CASES", "5000"))
SEED: Final = int(os.environ.get("QUADRIGA_FUZZ_SEED", "1"))

#: What a hypothesis test function, or what decorates one, is.
Test = Callable[..., Any]


def examples(count: int) -> Callable[[Test], Test]:
    """Has hypothesis try so many examples of the seed, and shrink what fails; to be put above `given`."""
    kept = settings(
        max_examples=max(1, count),
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )

    def decorate(test: Test) -> Test:
        seeded: Test = seed(SEED)(kept(test))
        return seeded

    return decorate


def chance(what: str, index: int) -> random.Random:
    """The random numbers of one case, by what is fuzzed and the case's number."""
    return random.Random(f"{SEED} {what} {index}")


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A file's bytes, cut off, overwritten, with bits flipped, or with parts left out or twice."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 3, 20))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 | 1 | 2 | 3 as how if how or len(data) > 1:
                shift(data, at, how, chance, longest=64, longest_copy=400)
            case 4:
                data[at : at + 8] = chance.choice((b"\xff" * 8, b"\x00" * 8, b"\xff" * 7 + b"\x7f"))
            case _ if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


def shift(data: bytearray, at: int, how: int, chance: random.Random, longest: int, longest_copy: int) -> None:
    """Cuts bytes off (`how` is 0), leaves fewer than `longest` out (1) or puts them in (2), or has some twice (3)."""
    match how:
        case 0:
            del data[at:]
        case 1:
            del data[at : at + chance.randrange(1, longest)]
        case 2:
            data[at:at] = chance.randbytes(chance.randrange(1, longest))
        case _:
            data[at:at] = data[at : at + chance.randrange(1, longest_copy)]
