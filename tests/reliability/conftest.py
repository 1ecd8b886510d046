"""What the tests of reliability share: figures, printed when all have run, and how a run is made short.

Where `QUADRIGA_TRANSPORT_DRAW` is set to a number, tests marked `either_transport` run on one transport each, which is
drawn from it; how many were left out, and from which number, is printed.
"""

import os

import pytest
from figures import Figures
from transport_draw import MARK, left_out

_FIGURES = pytest.StashKey[Figures]()
_DRAW = pytest.StashKey[str]()
SEED = os.environ.get("QUADRIGA_TRANSPORT_DRAW", "")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = Figures()


@pytest.hookimpl(trylast=True)  # after "-m" and "-k"
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not SEED:
        return
    tests = [_apart_from_transport(item) if item.get_closest_marker(MARK) else None for item in items]
    out = left_out(tests, int(SEED))
    of = sum(test is not None for test in tests)
    config.stash[_DRAW] = f"{len(out)} of {of} tests marked {MARK} left out, QUADRIGA_TRANSPORT_DRAW={SEED}"
    config.hook.pytest_deselected(items=[items[at] for at in sorted(out)])
    items[:] = [item for at, item in enumerate(items) if at not in out]


def _apart_from_transport(item: pytest.Item) -> str:
    """What a test is, its other parameters included."""
    assert isinstance(item, pytest.Function)
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    others = sorted((name, repr(value)) for name, value in parameters.items() if name != "transport")
    return f"{item.path} {item.originalname} {others}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if draw := config.stash.get(_DRAW, ""):
        terminalreporter.section("transports")
        terminalreporter.write_line(draw)
    if lines := config.stash[_FIGURES].lines():
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes down what a test measures."""
    return request.config.stash[_FIGURES]
