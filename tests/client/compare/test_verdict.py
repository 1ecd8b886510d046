"""Verdicts over made-up blocks: clear winners, equals, and contestants that cannot win."""

from dataclasses import replace
from typing import Any

import pytest
from comparisons import ROUNDS, block, blocks

from quadriga_client.compare.measures import MEASURES
from quadriga_client.compare.standings import Block, Level, Measure, Standing, Verdict
from quadriga_client.compare.verdict import figures_of, level, verdict

NAMES = ["a", "b", "c"]


def judged(made: list[Block], names: list[str] = NAMES) -> Level:
    return level(names, 8, made, 0)


def verdict_of(found: Level, measure: Measure) -> Verdict:
    return next(verdict for verdict in found.verdicts if verdict.measure == measure)


def test_one_that_is_clearly_better_wins_in_everything() -> None:
    found = judged(blocks({"a": 100.0, "b": 200.0, "c": 110.0}))
    assert [verdict.winner for verdict in found.verdicts] == ["b"] * len(MEASURES)
    ratios = {ratio.to: ratio.ratio for ratio in verdict_of(found, "throughput").ratios}
    assert ratios["a"].value == pytest.approx(2.0, rel=0.05)
    assert ratios["a"].low is not None
    assert ratios["a"].low > 1.9
    assert verdict_of(found, "throughput").sentence.startswith(
        "b has the highest throughput: 1.97 times a's (1.92 to 2.03), "
    )
    assert verdict_of(found, "p99_ms").sentence.startswith("b has the lowest p99 latency: 0.")


def test_no_winner_where_the_best_two_are_equals() -> None:
    found = judged(blocks({"a": 100.0, "b": 200.0, "c": 200.0}))
    judgement = verdict_of(found, "throughput")
    assert judgement.winner == ""
    assert judgement.sentence.startswith("no difference shown between ")
    assert "a" not in judgement.sentence.removeprefix("no difference shown between ").split(" and ")


def test_a_small_difference_is_shown_although_the_medians_intervals_overlap() -> None:
    """What slows a whole round down is in both of a round's figures."""
    made = []
    for number in range(ROUNDS):
        weather = 1 - 0.05 * number
        for name, speed in (("a", 100.0), ("b", 105.0), ("b", 105.2), ("a", 100.3)):
            made.append(block(name, number, speed * weather))
    found = judged(made, ["a", "b"])
    a, b = (standing.throughput for standing in found.standings)
    assert a is not None
    assert b is not None
    assert a.high is not None
    assert b.low is not None
    assert b.low < a.high
    assert verdict_of(found, "throughput").winner == "b"


def winners(repetitions: int, **fields: Any) -> list[str]:
    """Of the throughputs of two that are equal, again and again; those that are named."""
    standings = [Standing(contestant=name, blocks=2, saturated_blocks=0, errors={}) for name in ("a", "b")]
    found = []
    for seed in range(repetitions):
        figures = figures_of(["a", "b"], blocks({"a": 100.0, "b": 100.0}, seed=seed, **fields), "throughput")
        found.append(verdict("throughput", standings, figures, seed).winner)
    return [winner for winner in found if winner]


def test_equals_rarely_have_a_winner() -> None:
    assert len(winners(200)) < 20


def test_few_rounds_of_equals_rarely_have_a_winner() -> None:
    assert len(winners(200, rounds=6)) < 20


def test_an_even_drift_decides_nothing() -> None:
    """By the end, both have half the speed of the begin."""
    assert len(winners(200, drift=0.5)) < 20


def test_one_whose_requests_fail_cannot_win() -> None:
    made = [
        replace(each, errors={"UNAVAILABLE": 3}) if (each.contestant, each.round) == ("b", 2) else each
        for each in blocks({"a": 100.0, "b": 900.0, "c": 200.0})
    ]
    found = judged(made)
    assert verdict_of(found, "throughput").winner == "c"
    assert verdict_of(found, "throughput").sentence.endswith("; left out is b, whose requests failed")
    assert found.standings[1].errors == {"UNAVAILABLE": 6}


def test_nobody_wins_where_all_others_fail() -> None:
    made = [
        replace(each, errors={"INTERNAL": 1}) if each.contestant == "b" else each
        for each in blocks({"a": 100.0, "b": 50.0})
    ]
    judgement = verdict_of(judged(made, ["a", "b"]), "throughput")
    assert (judgement.winner, judgement.sentence) == ("", "nothing to compare; left out is b, whose requests failed")


def test_a_saturated_generator_decides_nothing_but_cpu_time() -> None:
    made = [
        replace(each, saturated=True) if each.contestant == "b" else each for each in blocks({"a": 100.0, "b": 200.0})
    ]
    found = judged(made, ["a", "b"])
    assert [verdict.measure for verdict in found.verdicts if verdict.winner] == ["cpu_ms_per_row"]
    said = "no difference shown: the load generator was the limit with b"
    assert verdict_of(found, "throughput").sentence == said
    assert found.standings[1].saturated_blocks == found.standings[1].blocks == 2 * ROUNDS


def test_a_block_that_is_saturated_now_and_then_changes_no_verdict() -> None:
    made = [replace(each, saturated=each.round == 1) for each in blocks({"a": 100.0, "b": 200.0})]
    assert verdict_of(judged(made, ["a", "b"]), "throughput").winner == "b"


def test_what_the_server_does_not_tell_is_left_out() -> None:
    made = [
        replace(each, cpu_ms_per_row=None) if each.contestant == "b" else each for each in blocks({"a": 9.0, "b": 9})
    ]
    found = judged(made, ["a", "b"])
    assert found.standings[1].cpu_ms_per_row is None
    said = "nothing to compare; left out is b, of which this is not known"
    assert verdict_of(found, "cpu_ms_per_row").sentence == said


def test_a_round_that_is_not_complete_counts_nowhere() -> None:
    made = blocks({"a": 100.0, "b": 200.0}, rounds=7)
    found = judged(made[:-1], ["a", "b"])
    assert found.rounds == 6
    assert [standing.blocks for standing in found.standings] == [12, 12]
    assert len(found.blocks) == len(made) - 1


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_rounds_have_no_winner(count: int) -> None:
    found = judged(blocks({"a": 100.0, "b": 300.0})[: 4 * count], ["a", "b"])
    assert [verdict.winner for verdict in found.verdicts] == [""] * len(MEASURES)
    if count:
        said = f"no difference shown: {count} complete rounds are too few, 6 are needed"
        assert verdict_of(found, "throughput").sentence == said
    else:
        assert found.standings[0].throughput is None


def test_one_that_never_answers_has_no_figures() -> None:
    made = [
        replace(each, throughput=0.0, p50_ms=None, p99_ms=None, cpu_ms_per_row=None, errors={"DEADLINE_EXCEEDED": 8})
        if each.contestant == "a"
        else each
        for each in blocks({"a": 1.0, "b": 2.0, "c": 4.0})
    ]
    found = judged(made)
    assert found.standings[0].throughput is None
    assert verdict_of(found, "throughput").winner == "c"


def test_a_figure_is_the_median_of_rounds_whose_blocks_count_as_their_mean() -> None:
    made = [block("a", number, speed) for number in range(7) for speed in (90.0 + number, 110.0 + number)]
    made += [block("b", number, 50.0) for number in range(7) for _ in range(2)]
    found = judged(made, ["a", "b"])
    assert found.standings[0].throughput is not None
    assert found.standings[0].throughput.value == 103.0
