"""Writes models' folders, and says what is found in them."""

from pathlib import Path

from quadriga.model_files import ModelFiles
from quadriga.repository import scan


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def only(repository: Path) -> ModelFiles:
    (model,) = scan([repository])
    return model


def served(model: ModelFiles) -> list[int]:
    assert model.error is None
    assert all(version.error is None for version in model.versions)
    return [version.version for version in model.versions]


def given(path: Path) -> ModelFiles:
    """As `quadriga serve PATH` finds it."""
    (model,) = scan([], [path])
    return model
