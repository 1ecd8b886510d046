"""When work is taken to hang, to the nanosecond of a clock that the test moves."""

from fake_time import in_a_loop, pass_time

from quadriga.workers.watchdog import STOOD_STILL_NS, Watchdog

SECOND = 1_000_000_000


class Watched:
    """A watchdog that counts."""

    def __init__(self, seconds: float) -> None:
        self.hung = 0
        self.dog = Watchdog(seconds, self._count)
        self.now = 1_000_000_000

    def _count(self) -> None:
        self.hung += 1

    def begin(self) -> None:
        self.dog.begin(self.now)

    async def wait(self, nanoseconds: int) -> None:
        self.now += nanoseconds
        await pass_time(nanoseconds)


@in_a_loop
async def test_work_that_takes_as_long_as_it_may_hangs_and_not_before() -> None:
    watched = Watched(2.0)
    watched.begin()
    await watched.wait(2 * SECOND - 1)
    assert watched.hung == 0
    await watched.wait(1)
    assert watched.hung == 1


@in_a_loop
async def test_each_piece_of_work_has_a_time_of_its_own() -> None:
    watched = Watched(2.0)
    for _ in range(5):
        watched.begin()
        await watched.wait(SECOND * 3 // 2)
    assert watched.hung == 0
    await watched.wait(SECOND // 2)
    assert watched.hung == 1


@in_a_loop
async def test_rest_does_not_count() -> None:
    watched = Watched(2.0)
    watched.begin()
    watched.dog.rest()
    for _ in range(4):
        await watched.wait(SECOND)
    watched.begin()
    await watched.wait(2 * SECOND - 1)
    assert watched.hung == 0
    await watched.wait(1)
    assert watched.hung == 1


@in_a_loop
async def test_a_server_that_stood_still_itself_gives_the_time_anew() -> None:
    watched = Watched(2.0)
    watched.begin()
    await watched.wait(2 * SECOND + STOOD_STILL_NS + 1)
    assert watched.hung == 0
    await watched.wait(2 * SECOND)
    assert watched.hung == 1


@in_a_loop
async def test_a_pause_that_ends_before_the_limit_does_not_count_either() -> None:
    watched = Watched(60.0)
    watched.begin()
    await watched.wait(SECOND)
    await watched.wait(50 * SECOND)  # in which no timer was on time
    for _ in range(54):
        await watched.wait(SECOND)
    assert watched.hung == 0
    await watched.wait(2 * SECOND)
    assert watched.hung == 1


@in_a_loop
async def test_a_server_that_is_always_late_notices_all_the_same() -> None:
    watched = Watched(2.0)
    watched.begin()
    for _ in range(8):
        await watched.wait(STOOD_STILL_NS + SECOND // 2)
    assert watched.hung == 1


@in_a_loop
async def test_without_a_limit_or_once_it_is_closed_nothing_hangs() -> None:
    unlimited, closed = Watched(0.0), Watched(2.0)
    for watched in (unlimited, closed):
        watched.begin()
    closed.dog.close()
    closed.begin()
    await pass_time(SECOND)
    await pass_time(3 * SECOND)
    assert (unlimited.hung, closed.hung) == (0, 0)
