"""Verdicts over made-up blocks: clear winners, equals, and contestants that cannot win."""

from dataclasses import replace
from typing import Any

import pytest
from comparisons import ROUNDS, block, blocks, latencies

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
        "b has the highest throughput: 1.96 times a's (1.93 to 2.00), "
    )
    assert verdict_of(found, "p99_ms").sentence.startswith(
        "b has the lowest p99 latency: 1.96 times lower than a's (1.93 to 2.02), "
    )


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
        made = blocks({"a": 100.0, "b": 100.0}, seed=seed, latencies="", **fields)
        figures = figures_of(["a", "b"], made, "throughput")
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
        replace(
            each,
            throughput=0.0,
            p50_ms=None,
            p99_ms=None,
            latencies="",
            cpu_ms_per_row=None,
            errors={"DEADLINE_EXCEEDED": 8},
        )
        if each.contestant == "a"
        else each
        for each in blocks({"a": 1.0, "b": 2.0, "c": 4.0})
    ]
    found = judged(made)
    assert found.standings[0].throughput is not None
    assert found.standings[0].throughput.value == 0
    assert found.standings[0].p50_ms is None
    assert verdict_of(found, "throughput").winner == "c"


def test_one_that_answers_nothing_in_some_block_stays_in_the_table() -> None:
    made = [
        replace(each, throughput=0.0, p50_ms=None, p99_ms=None, latencies="") if number in (0, 1) else each
        for number, each in enumerate(blocks({"a": 1.0, "b": 2.0}, rounds=8))
    ]
    found = judged(made, ["a", "b"])
    for standing in found.standings:
        assert standing.throughput is not None
        assert standing.p50_ms is not None
    assert verdict_of(found, "throughput").winner == "b"
    assert verdict_of(found, "p50_ms").winner == "b"


def test_a_round_in_which_one_answered_nothing_at_all_has_no_ratio() -> None:
    made = [
        replace(each, throughput=0.0) if (each.contestant, each.round) == ("a", 3) else each
        for each in blocks({"a": 1.0, "b": 2.0, "c": 3.0})
    ]
    found = judged(made)
    assert found.standings[0].throughput is not None
    assert verdict_of(found, "throughput").winner == "c"
    assert verdict_of(found, "throughput").sentence.endswith("; left out is a, of which this is 0 in some rounds")


def test_a_p99_of_too_few_requests_is_said_to_be_that() -> None:
    few = latencies(10.0, 20.0, count=49)
    made = [replace(each, latencies=few) if each.contestant == "b" else each for each in blocks({"a": 1.0, "b": 2.0})]
    said = "nothing to compare; left out is b, with too few requests for p99: a round has fewer than 100"
    assert verdict_of(judged(made, ["a", "b"]), "p99_ms").sentence == said


def test_a_p99_is_of_a_hundred_requests_of_both_blocks_together() -> None:
    half = latencies(10.0, 20.0, count=50)
    found = judged([replace(each, p99_ms=None, latencies=half) for each in blocks({"a": 1.0, "b": 2.0})], ["a", "b"])
    assert [standing.p99_ms and standing.p99_ms.value for standing in found.standings] == [
        pytest.approx(20.0, rel=0.001)
    ] * 2


def test_a_rounds_percentiles_are_those_of_its_blocks_latencies_together_and_not_their_mean() -> None:
    """A block has 100 requests of 10 ms; of 60 of the other, 57 take 40 ms. The means of p50 and p99 are both 25 ms."""
    made = [
        block(name, number, 100.0, p50_ms=p50, p99_ms=p99, latencies=kept)
        for number in range(6)
        for name in ("a", "b")
        for p50, p99, kept in ((10.0, 10.0, latencies(10.0, 10.0)), (40.0, 40.0, latencies(40.0, 10.0, count=60)))
    ]
    standing = judged(made, ["a", "b"]).standings[0]
    assert standing.p50_ms is not None
    assert standing.p99_ms is not None
    assert standing.p50_ms.value == pytest.approx(10.0, rel=0.001)
    assert standing.p99_ms.value == pytest.approx(40.0, rel=0.001)


def test_cpu_time_is_that_of_both_blocks_of_a_round_over_the_rows_of_both() -> None:
    made = [
        block(name, number, 100.0, cpu_ms_per_row=cpu * share, cpu_requests=requests)
        for number in range(6)
        for name, cpu in (("a", 1.0), ("b", 2.0))
        for share, requests in ((1.0, 300), (5.0, 100))
    ]
    found = judged(made, ["a", "b"])
    assert [standing.cpu_ms_per_row and standing.cpu_ms_per_row.value for standing in found.standings] == [2.0, 4.0]


def test_rounds_in_which_something_is_not_known_are_left_out() -> None:
    made = [
        replace(each, cpu_ms_per_row=None) if (each.contestant, each.round) == ("b", 0) else each
        for each in blocks({"a": 100.0, "b": 200.0}, rounds=8)
    ]
    assert verdict_of(judged(made, ["a", "b"]), "cpu_ms_per_row").winner == "b"
    for each in range(1, 4):
        made = [
            replace(one, cpu_ms_per_row=None) if (one.contestant, one.round) == ("b", each) else one for one in made
        ]
    said = "nothing to compare; left out is b, of which this is known in 4 rounds alone"
    assert verdict_of(judged(made, ["a", "b"]), "cpu_ms_per_row").sentence == said


def paired(*ratios: float) -> list[Block]:
    """Rounds of "a" and "b" in which a's throughput is so many times b's, while both vary by far more."""
    speeds = [100.0, 500.0, 60.0, 900.0, 300.0, 40.0, 700.0, 80.0, 250.0]
    return [
        block(name, number, speeds[number] * (ratio if name == "a" else 1.0))
        for number, ratio in enumerate(ratios)
        for name in "abba"
    ]


def test_the_winner_is_who_is_better_round_by_round() -> None:
    """In the slowest of nine rounds "a" is far better, which decides the medians; in the others "b" is, a little."""
    found = judged(paired(0.9, 0.9, 0.9, 0.9, 0.9, 40.0, 0.9, 0.9, 0.9), ["a", "b"])
    a, b = (standing.throughput for standing in found.standings)
    assert a is not None
    assert b is not None
    assert a.value > b.value
    assert verdict_of(found, "throughput").winner == "b"
    assert verdict_of(found, "throughput").sentence.startswith("b has the highest throughput: 1.11 times a's")


def test_who_wins_is_ahead_of_all_others() -> None:
    for seed in range(20):
        for judgement in judged(blocks({"a": 100.0, "b": 101.0, "c": 103.0}, seed=seed)).verdicts:
            for ratio in judgement.ratios if judgement.winner else ():
                low, high = ratio.ratio.low, ratio.ratio.high
                assert low is not None
                assert high is not None
                assert low > 1 if MEASURES[judgement.measure].more_is_better else high < 1


def test_a_difference_below_one_per_cent_is_written_with_its_digits() -> None:
    made = [
        block(name, number, 100.0 * speed)
        for number in range(8)
        for name, speed in (("a", 1.003), ("b", 1.0), ("b", 1.0), ("a", 1.003))
    ]
    said = verdict_of(judged(made, ["a", "b"]), "throughput").sentence
    assert said == "a has the highest throughput: 1.003 times b's (1.003 to 1.003)"


def test_rounds_that_follow_each_other_are_told_of_the_winner() -> None:
    made = paired(2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8)
    judgement = verdict_of(judged(made, ["a", "b"]), "throughput")
    assert judgement.winner == "a"
    assert judgement.ratios[0].correlated
    said = "; round follows round in the ratio to b (0.66), so that the interval is too narrow"
    assert judgement.sentence.endswith(said)
    turns = verdict_of(judged(paired(2.0, 2.8, 2.0, 2.8, 2.0, 2.8, 2.0, 2.8, 2.0), ["a", "b"]), "throughput")
    assert (turns.winner, turns.ratios[0].correlated) == ("a", False)


def test_a_figure_is_the_median_of_rounds_whose_blocks_count_as_their_mean() -> None:
    made = [block("a", number, speed) for number in range(7) for speed in (90.0 + number, 110.0 + number)]
    made += [block("b", number, 50.0) for number in range(7) for _ in range(2)]
    found = judged(made, ["a", "b"])
    assert found.standings[0].throughput is not None
    assert found.standings[0].throughput.value == 103.0
