"""Which transport a test of two is drawn for, where both would take too long."""

import random
from collections.abc import Iterable

import pytest

MARK = "either_transport"


def drawn(items: Iterable[pytest.Item], seed: int) -> list[pytest.Item]:
    """Those of the tests with the mark that are left out: of each that there is for several transports, all but one.

    What a test is beside its transport, its other parameters, stays complete: only the transport is drawn.
    """
    tests: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker(MARK) and hasattr(item, "callspec"):
            others = {name: repr(value) for name, value in item.callspec.params.items() if name != "transport"}
            tests.setdefault((str(item.path), f"{item.originalname} {sorted(others.items())}"), []).append(item)
    dice = random.Random(seed)
    left_out = []
    for _, of_transports in sorted(tests.items()):
        of_transports.remove(dice.choice(of_transports))
        left_out += of_transports
    return left_out
