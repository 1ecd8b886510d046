"""Says from which seed is fuzzed, so that a failure can be repeated."""

from fuzz_cases import CASES, SEED


def pytest_report_header() -> str:
    """A line above the tests."""
    return f"fuzzing: QUADRIGA_FUZZ_SEED={SEED} QUADRIGA_FUZZ_CASES={CASES}"
