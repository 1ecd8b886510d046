"""Fixtures that tests of several packages share."""

from pathlib import Path

import pytest

DEMO_REPOSITORY = Path(__file__).parents[1] / "models" / "repository"


@pytest.fixture(scope="session")
def demo_repository() -> Path:
    """The demo models that `make models` writes."""
    if not (DEMO_REPOSITORY / "same_onnx").is_dir():
        pytest.fail(f"{DEMO_REPOSITORY} is not complete; run `make models`")
    return DEMO_REPOSITORY
