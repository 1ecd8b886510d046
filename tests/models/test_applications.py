"""A large network of Keras in all four formats, as the command makes it."""

import json
from pathlib import Path

import pytest
from running_server import run_cli

from quadriga.config_file import load_model_config
from quadriga_zoo.comparison import TOLERANCE
from quadriga_zoo.formats import EXPORTED, file_name
from quadriga_zoo.samples import IMAGES


@pytest.mark.exports
def test_mobilenet_v2_is_the_same_in_all_four_formats_and_marked_as_untrained(tmp_path: Path) -> None:
    result = run_cli("zoo", "application", "mobilenet_v2", "--repository", str(tmp_path), timeout=900)
    assert result.returncode == 0, result.stderr
    assert "untrained" in result.stdout
    names = [f"mobilenet_v2_{form}" for form in EXPORTED]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name, form in zip(names, EXPORTED, strict=True):
        assert name in result.stdout
        assert (tmp_path / name / "1" / file_name(form)).exists()
        export = json.loads((tmp_path / name / "export.json").read_text())
        # Untrained scores are about 1e-3, so that the tolerance alone would say little.
        assert 0 < export["largest_difference"] <= TOLERANCE / 10
        assert export["top1_agreement"] == 1.0
        assert (export["compared_on"], export["dataset"], export["rows"]) == ("test images", "digits", IMAGES)
        assert "accuracy" not in export
        assert export["untrained"] is True
        config = load_model_config(tmp_path / name, name)
        assert (config.parameters["untrained"], config.max_batch_size) == ("true", 8)
