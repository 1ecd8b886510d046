"""The draw of transports: each test keeps one of them, tests of no draw are all kept, and a number draws the same."""

from transport_draw import left_out

TESTS = [f"attack {number}" for number in range(8)]


def test_each_test_keeps_one_of_its_transports() -> None:
    tests = [*TESTS, None, *TESTS, None]
    for seed in range(20):
        out = left_out(tests, seed)
        assert sorted(test for at, test in enumerate(tests) if test and at not in out) == TESTS
        assert len(out) == len(TESTS)
        assert not any(tests[at] is None for at in out)


def test_both_transports_are_drawn_in_time() -> None:
    assert set.intersection(*(left_out(2 * TESTS, seed) for seed in range(20))) == set()
    assert set.union(*(left_out(2 * TESTS, seed) for seed in range(20))) == set(range(2 * len(TESTS)))


def test_a_number_draws_the_same() -> None:
    assert left_out(2 * TESTS, 3) == left_out(2 * TESTS, 3)
    assert left_out(2 * TESTS, 3) != left_out(2 * TESTS, 4)


def test_a_test_of_one_transport_is_kept() -> None:
    assert left_out(TESTS, 1) == set()
