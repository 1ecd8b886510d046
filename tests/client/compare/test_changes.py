"""A report beside an older one: what got worse or better, and what makes them unlike."""

from dataclasses import replace

import pytest
from comparisons import comparison, contender, made_level

from quadriga_client.compare.change import Changes
from quadriga_client.compare.changes import change, changes, check_comparable
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.standings import Level
from quadriga_client.load.report import Fingerprint, Interval

OLD = comparison({"a": 100.0, "b": 200.0})


def beside(new: Comparison, old: Comparison = OLD, tolerated: float = 0.05) -> Changes:
    return changes(old, new, against="old.json", tolerated=tolerated)


def test_the_same_again_is_no_change() -> None:
    found = beside(comparison({"a": 100.0, "b": 200.0}, levels=[made_level({"a": 100.0, "b": 200.0}, seed=1)]))
    assert [entry.worse or entry.better for entry in found.entries] == [False] * 8
    assert (found.worse, found.warnings, found.against, found.created) == ((), (), "old.json", OLD.created)


def test_a_regression_is_found_in_every_figure_of_the_one_that_has_it() -> None:
    found = beside(comparison({"a": 100.0, "b": 120.0}))
    assert [(entry.contestant, entry.measure) for entry in found.worse] == [
        ("b", "throughput"),
        ("b", "p50_ms"),
        ("b", "p99_ms"),
        ("b", "cpu_ms_per_row"),
    ]
    throughput = found.worse[0]
    assert throughput.ratio.value == pytest.approx(0.6, rel=0.05)
    assert throughput.before == pytest.approx(200, rel=0.05)
    assert throughput.now == pytest.approx(120, rel=0.05)


def test_an_improvement_is_better_and_not_worse() -> None:
    found = beside(comparison({"a": 150.0, "b": 200.0}))
    assert {entry.contestant for entry in found.entries if entry.better} == {"a"}
    assert found.worse == ()


def test_what_is_tolerated_is_not_worse() -> None:
    new = comparison({"a": 100.0, "b": 170.0})
    assert beside(new, tolerated=0.05).worse
    assert not beside(new, tolerated=0.3).worse


@pytest.mark.parametrize(
    ("before", "now", "worse"),
    [
        (Interval(value=100, low=95, high=105), Interval(value=80, low=76, high=84), True),
        (Interval(value=100, low=95, high=105), Interval(value=90, low=80, high=96), False),  # they overlap
        (Interval(value=100, low=99, high=101), Interval(value=97, low=96, high=98), False),  # 3 % are tolerated
        (Interval(value=100), Interval(value=10), False),  # too few rounds to say
        (Interval(value=100, low=95, high=105), Interval(value=120, low=110, high=130), False),
    ],
)
def test_worse_is_what_lies_beyond_both_intervals_and_the_tolerance(
    before: Interval, now: Interval, worse: bool
) -> None:
    assert change("a", 8, "throughput", before, now, 0.05).worse == worse


def test_of_times_less_is_better() -> None:
    before, now = Interval(value=10, low=9, high=11), Interval(value=20, low=19, high=21)
    assert change("a", 8, "p99_ms", before, now, 0.05).worse
    assert change("a", 8, "p99_ms", now, before, 0.05).better
    ratio = change("a", 8, "p99_ms", before, now, 0.05).ratio
    assert ratio.value == 2
    assert ratio.low == pytest.approx(19 / 11)
    assert ratio.high == pytest.approx(21 / 9)


def test_only_levels_that_both_have_are_compared() -> None:
    levels = [made_level({"a": 100.0, "b": 200.0}, concurrency) for concurrency in (8, 32)]
    found = beside(comparison({"a": 100.0, "b": 200.0}, levels=levels))
    assert {entry.concurrency for entry in found.entries} == {8}


def test_figures_of_a_saturated_generator_are_no_servers() -> None:
    (level,) = OLD.levels
    saturated = replace(level.standings[1], saturated_blocks=level.standings[1].blocks)
    new = comparison(
        {"a": 100.0, "b": 20.0},
        levels=[replace(made_level({"a": 100.0, "b": 20.0}), standings=(level.standings[0], saturated))],
    )
    assert {entry.measure for entry in beside(new).entries if entry.contestant == "b"} == {"cpu_ms_per_row"}


def test_figures_that_are_not_there_any_more_are_missing() -> None:
    (level,) = OLD.levels
    saturated = replace(level.standings[1], saturated_blocks=level.standings[1].blocks)
    fewer = replace(level.standings[0], p99_ms=None, cpu_ms_per_row=None)
    found = beside(replace(OLD, levels=(replace(level, standings=(fewer, saturated)),)))
    assert found.missing == ("a with 8 callers: p99 ms, CPU ms per row", "b with 8 callers: requests/s, p50 ms, p99 ms")
    assert beside(OLD).missing == ()
    assert beside(OLD, old=replace(OLD, levels=(replace(level, standings=(fewer, saturated)),))).missing == ()


def test_a_dropped_contestant_or_level_has_lost_its_figures() -> None:
    figures = "requests/s, p50 ms, p99 ms, CPU ms per row (not measured again)"
    assert beside(comparison({"a": 100.0, "c": 100.0})).missing == (f"b with 8 callers: {figures}",)
    levels = [made_level({"a": 100.0, "b": 200.0}, concurrency) for concurrency in (1, 8)]
    wide = comparison({"a": 100.0, "b": 200.0}, levels=levels)
    assert beside(OLD, old=wide).missing == (f"a with 1 caller: {figures}", f"b with 1 caller: {figures}")
    assert beside(wide).missing == ()
    assert beside(comparison({"a": 100.0, "b": 200.0, "c": 100.0})).missing == ()


def test_what_the_older_report_had_no_figures_of_is_not_missed() -> None:
    old = comparison({"a": 1.0, "b": 1.0}, levels=[made_level({"a": 1.0, "b": 1.0}, rounds=0)])
    assert beside(comparison({"a": 100.0, "c": 1.0}), old=old).missing == ()


@pytest.mark.parametrize("levels", [(), (made_level({"a": 1.0, "b": 1.0}, rounds=0),)])
def test_a_report_that_ended_early_is_set_beside_an_older_one_all_the_same(levels: tuple[Level, ...]) -> None:
    """After the timing nothing may raise: the report would be lost."""
    found = beside(replace(OLD, levels=levels, interrupted=True))
    assert found.entries == ()
    assert [line.partition(":")[0] for line in found.missing] == ["a with 8 callers", "b with 8 callers"]


@pytest.mark.parametrize("side", ["older", "newer"])
def test_a_figure_of_0_has_no_ratio(side: str) -> None:
    (level,) = OLD.levels
    zero = Interval(value=0.0, low=0.0, high=0.0)
    other = replace(OLD, levels=(replace(level, standings=(replace(level.standings[0], throughput=zero),)),))
    found = beside(OLD, old=other) if side == "older" else beside(other)
    assert ("a", "throughput") not in {(entry.contestant, entry.measure) for entry in found.entries}
    assert ("a with 8 callers: requests/s" in found.missing) == (side == "newer")


def test_what_makes_reports_unlike_is_said() -> None:
    new = comparison(
        {"a": 100.0, "b": 200.0},
        fingerprint=Fingerprint(machine={"cpu": "Made Up 2"}, versions={"quadriga": "0.2.0"}, load_average=9.0),
        contestants=(contender("a", version="2"), contender("c")),
        connections=8,
        interrupted=True,
    )
    assert beside(new).warnings == (
        "the machines differ, so the changes may be theirs: cpu Made Up 1 -> Made Up 2",
        "versions differ: quadriga 0.1.0 -> 0.2.0",
        "the measurements differ: connections 4 -> 8",
        "b is only in the older report",
        "c is only in the newer report",
        "a is another one: version 1 -> 2",
        "the newer report ended early",
    )


def test_other_tensors_cannot_be_compared() -> None:
    inputs = replace(OLD.inputs, tensors=("FP32[32,8,8,1]",))
    with pytest.raises(CompareError, match=r"is of requests of FP32\[1,8,8,1\], and these are of FP32\[32,8,8,1\]"):
        check_comparable(OLD, ["a", "b"], inputs, [8])


def test_reports_of_other_contestants_or_levels_cannot_be_compared() -> None:
    with pytest.raises(CompareError, match="the older report is of a, b, and this one of x, y"):
        check_comparable(OLD, ["x", "y"], OLD.inputs, [8])
    with pytest.raises(CompareError, match="the older report has the levels 8, and this one 1, 2"):
        check_comparable(OLD, ["a"], OLD.inputs, [1, 2])
