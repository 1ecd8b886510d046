"""Which transport a test of two is drawn for, where both would take too long."""

import random
from collections.abc import Sequence

MARK = "either_transport"


def left_out(tests: Sequence[str | None], seed: int) -> set[int]:
    """Positions of the tests that do not run: of each that is there more than once, all but one, which is drawn.

    Args:
        tests: What each is, its transport apart; None is a test that runs in any case.
        seed: The same one draws the same tests.
    """
    positions: dict[str, list[int]] = {}
    for position, test in enumerate(tests):
        if test is not None:
            positions.setdefault(test, []).append(position)
    dice = random.Random(seed)
    kept = {dice.choice(of_test) for _, of_test in sorted(positions.items())}
    return {position for of_test in positions.values() for position in of_test} - kept
