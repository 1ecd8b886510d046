"""What was measured when a model was made: read where it is told, warned of where it cannot be read."""

import logging
from pathlib import Path

import pytest

from quadriga.export_file import EXPORT_FILE, NOTHING, Export, read_export
from quadriga.repository import scan


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "properties"),
    [
        (b'{"format": "onnx", "accuracy": 0.975, "rows": 359}', {"accuracy": "0.975"}),
        (b'{"accuracy": 1, "dataset": "digits"}', {"accuracy": "1.0", "dataset": "digits"}),
        (b'{"accuracy": null, "dataset": "digits"}', {}),
        (b'{"format": "onnx"}', {}),
        (b"{}", {}),
    ],
)
def test_an_accuracy_becomes_a_property(tmp_path: Path, content: bytes, properties: dict[str, str]) -> None:
    put(tmp_path / EXPORT_FILE, content)
    assert read_export(tmp_path).properties() == properties


def test_without_a_file_nothing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_export(tmp_path) == NOTHING
    assert caplog.records == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"accuracy: 0.9",
        b"[0.9]",
        b'{"accuracy": "high"}',
        b'{"accuracy": 97.5}',
        b'{"accuracy": -0.1}',
        b'{"accuracy": NaN}',
        b'{"dataset": 7}',
        b'{"dataset": "\xff"}',
        b'{"deep": ' + b"[" * 100_000,
    ],
)
def test_a_file_that_cannot_be_read_is_warned_of_once(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(tmp_path / EXPORT_FILE, content)
    with caplog.at_level(logging.WARNING):
        assert (read_export(tmp_path), read_export(tmp_path)) == (NOTHING, NOTHING)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path} is ignored: ")
    assert "expected a JSON object with an accuracy from 0 to 1" in line


def test_a_folder_in_its_place_is_ignored_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / EXPORT_FILE).mkdir()
    assert read_export(tmp_path) == NOTHING
    assert "is a folder" in caplog.text


def test_it_is_about_the_only_version(tmp_path: Path) -> None:
    put(tmp_path / "m" / "1" / "model.onnx")
    put(tmp_path / "m" / EXPORT_FILE, b'{"accuracy": 0.5}')
    assert scan([tmp_path])[0].export == Export(accuracy=0.5)
    put(tmp_path / "m" / "2" / "model.onnx")  # the latest alone is served, and it may be another network
    assert scan([tmp_path])[0].export == NOTHING


def test_a_bad_one_spoils_no_model(tmp_path: Path) -> None:
    put(tmp_path / "m" / "1" / "model.onnx")
    put(tmp_path / "m" / EXPORT_FILE, b"{")
    (model,) = scan([tmp_path])
    assert (model.error, model.export, len(model.versions)) == (None, NOTHING, 1)
