"""A comparison's blocks as CSV: what the figures are made of, but for the latencies. Pure."""

import csv
import io

from quadriga_client.compare.comparison import Comparison


def blocks_csv(report: Comparison) -> str:
    """A line per block, in the order in which they were measured; empty where nothing is known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            "concurrency",
            "round",
            "contestant",
            "seconds",
            "requests",
            "throughput",
            "p50_ms",
            "p99_ms",
            "lag_p99_ms",
            "saturated",
            "errors",
            "cpu_ms_per_row",
            "cpu_requests",
            "memory_bytes",
        )
    )
    for level in report.levels:
        for block in level.blocks:
            writer.writerow(
                (
                    level.concurrency,
                    block.round,
                    block.contestant,
                    block.seconds,
                    block.requests,
                    block.throughput,
                    block.p50_ms,
                    block.p99_ms,
                    block.lag_p99_ms,
                    str(block.saturated).lower(),
                    " ".join(f"{code}:{count}" for code, count in block.errors.items()),
                    block.cpu_ms_per_row,
                    block.cpu_requests,
                    block.memory_bytes,
                )
            )
    return text.getvalue()
