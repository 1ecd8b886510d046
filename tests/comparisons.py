"""Comparisons of made-up blocks, for tests of verdicts, changes and reports."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quadriga_client.compare.blocks import schedule
from quadriga_client.compare.comparison import SCHEMA, Comparison, Contender, SharedInputs
from quadriga_client.compare.latencies import kept
from quadriga_client.compare.likeness import Agreement, OutputAgreement, Tolerance
from quadriga_client.compare.standings import Block, Level
from quadriga_client.compare.verdict import level
from quadriga_client.load.report import Fingerprint

ROUNDS = 10


def blocks(
    throughputs: Mapping[str, float],
    *,
    rounds: int = ROUNDS,
    noise: float = 0.03,
    seed: int = 0,
    drift: float = 0.0,
    **fields: Any,
) -> list[Block]:
    """Blocks of contestants with these throughputs; latency and CPU time are what those make of them.

    Args:
        throughputs: By name.
        rounds: Of two blocks each.
        noise: Relative, normal, of each block; half as much again of each round, shared by all.
        seed: Of the noise and the order.
        drift: By what share all are slower at the end than at the begin.
        fields: Of each block, in place of those made.
    """
    random = np.random.default_rng(seed)
    names = list(throughputs)
    turns = schedule(len(names), rounds, seed)
    shared = 1 + noise / 2 * random.standard_normal(rounds)
    made = []
    for number, turn in enumerate(turns):
        name = names[turn.contestant]
        speed = throughputs[name] * shared[turn.round] * (1 + noise * random.standard_normal())
        speed *= 1 - drift * number / len(turns)
        made.append(block(name, turn.round, float(speed), **fields))
    return made


def block(name: str, number: int, throughput: float, **fields: Any) -> Block:
    """A block of a closed loop of 8 callers."""
    values: dict[str, Any] = {
        "contestant": name,
        "round": number,
        "seconds": 1.0,
        "requests": round(throughput),
        "throughput": throughput,
        "p50_ms": 8000 / throughput,
        "p99_ms": 16000 / throughput,
        "lag_p99_ms": 0.01,
        "saturated": False,
        "cpu_ms_per_row": 500 / throughput,
        "memory_bytes": 80_000_000,
    }
    if "latencies" not in fields:
        values["latencies"] = latencies(8000 / throughput, 16000 / throughput)
    return Block(**{**values, **fields})


def latencies(p50_ms: float, p99_ms: float, count: int = 100) -> str:
    """So many latencies of a block with these percentiles, of which a twentieth are the longer ones."""
    longer = count // 20
    return kept(np.repeat(np.array([p50_ms * 1e6, p99_ms * 1e6], np.int64), [count - longer, longer]))


def made_level(throughputs: Mapping[str, float], concurrency: int = 8, **fields: Any) -> Level:
    """A level of such blocks."""
    return level(list(throughputs), concurrency, blocks(throughputs, **fields), 0)


def contender(name: str, **fields: Any) -> Contender:
    """A contestant of a server that tells everything."""
    values: dict[str, Any] = {
        "name": name,
        "model": name,
        "version": "1",
        "url": "127.0.0.1:8001",
        "server": "quadriga 0.1.0",
        "backend": "onnx",
        "device": "cpu",
        "load_ms": 220.0,
        "memory_bytes": 80_000_000,
        "file_bytes": 48_500,
        "accuracy": 0.9749,
    }
    return Contender(**{**values, **fields})


def comparison(throughputs: Mapping[str, float], *, levels: Sequence[Level] | None = None, **fields: Any) -> Comparison:
    """A report of such contestants, who agree."""
    names = list(throughputs)
    output = OutputAgreement(name="scores", other_name="output_0", elements=160, differing=0, largest_difference=1.5e-6)
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "quadriga": "0.1.0",
        "created": "2026-07-01T12:00:00+00:00",
        "command": "quadriga compare",
        "contestants": tuple(map(contender, names)),
        "inputs": SharedInputs(
            content="random numbers, seed 0", requests=16, rows=1, tensors=("FP32[1,8,8,1]",), digest="ab" * 32
        ),
        "tolerance": Tolerance(),
        "agreements": tuple(Agreement(contestant=name, agrees=True, outputs=(output,), top1=1.0) for name in names[1:]),
        "allowed_different": False,
        "seed": 0,
        "block_seconds": 1.0,
        "connections": 4,
        "processes": 1,
        "one_awake": False,
        "fingerprint": Fingerprint(machine={"cpu": "Made Up 1"}, versions={"quadriga": "0.1.0"}, load_average=0.5),
        "levels": tuple([made_level(throughputs)] if levels is None else levels),
        "generator_cores": (0, 1),
    }
    return Comparison(**{**values, **fields})
