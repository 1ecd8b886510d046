"""A connection and its peer, for the tests of what goes between them; and files with large numbers."""

import fcntl
import os
import resource
from collections.abc import Callable, Iterator

import pytest
from http2_peer import Connect, pairs


@pytest.fixture
def connect() -> Iterator[Connect]:
    """See `http2_peer.pairs`."""
    with pairs() as make:
        yield make


@pytest.fixture
def above_1024() -> Iterator[Callable[[int], int]]:
    """Gives an open file a number that `select.select` does not know, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    made: list[int] = []

    def duplicate(fileno: int) -> int:
        made.append(fcntl.fcntl(fileno, fcntl.F_DUPFD_CLOEXEC, 1024))
        return made[-1]

    try:
        if soft != resource.RLIM_INFINITY and soft < 2048:
            resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    except ValueError:
        pytest.skip(f"the system allows {hard} files")
    yield duplicate
    for each in made:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
