"""What of a model's folder is read: its file, its labels, its size."""

import os
from pathlib import Path
from typing import Any

import pytest
from model_folders import only, put

from quadriga.errors import ConfigError
from quadriga.model_files import folders_in, format_of, read_labels, size_of
from quadriga.repository import scan


class TestDefaultModelFilename:
    def test_it_is_honoured(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        put(tmp_path / "m" / "1" / "nets" / "net.pt")
        put(tmp_path / "m" / "config.pbtxt", 'default_model_filename: "nets/net.pt"')
        (version,) = only(tmp_path).versions
        assert version.path == tmp_path / "m" / "1" / "nets" / "net.pt"
        assert (version.format, version.backend) == ("torchscript", "torchscript")

    def test_the_backend_says_what_an_unknown_suffix_is(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "weights.bin")
        put(tmp_path / "m" / "config.pbtxt", 'default_model_filename: "weights.bin" backend: "onnxruntime"')
        (version,) = only(tmp_path).versions
        assert (version.path.name, version.format, version.backend) == ("weights.bin", "onnx", "onnx")

    def test_a_backend_of_the_users_own_reads_any_file(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "weights.bin")
        put(tmp_path / "m" / "model.toml", "default_model_filename = 'weights.bin'\nbackend = 'mine.mod:Mine'")
        (version,) = only(tmp_path).versions
        assert (version.path.name, version.format, version.backend) == ("weights.bin", "", "mine.mod:Mine")

    @pytest.mark.parametrize(
        ("file_name", "problem"),
        [("net.onnx", "does not exist, but default_model_filename names it"), ("weights.bin", "is of no known format")],
    )
    def test_what_it_names_must_be_a_model(self, tmp_path: Path, file_name: str, problem: str) -> None:
        put(tmp_path / "m" / "1" / "weights.bin")
        put(tmp_path / "m" / "model.toml", f"default_model_filename = '{file_name}'")
        (version,) = only(tmp_path).versions
        assert version.error is not None
        assert f"model file {tmp_path / 'm' / '1' / file_name} {problem}" in version.error

    @pytest.mark.parametrize("file_name", ["../../other/1/model.onnx", "/etc/passwd"])
    def test_it_cannot_leave_the_folder(self, tmp_path: Path, file_name: str) -> None:
        put(tmp_path / "other" / "1" / "model.onnx")
        put(tmp_path / "m" / "1" / "model.onnx")
        put(tmp_path / "m" / "model.toml", f"default_model_filename = '{file_name}'")
        m, _ = scan([tmp_path])
        assert m.versions == ()
        assert m.error is not None
        assert file_name in m.error


class TestLabels:
    def test_labels_txt_is_for_every_output_without_its_own(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        put(tmp_path / "m" / "labels.txt", "cat\ndog\n")
        put(tmp_path / "m" / "breeds.txt", "beagle\npug\n")
        output = 'name: "breed" data_type: TYPE_FP32 dims: 2 label_filename: "breeds.txt"'
        put(tmp_path / "m" / "config.pbtxt", f"output {{ {output} }}")
        model = only(tmp_path)
        assert model.labels_of("breed") == ("beagle", "pug")
        assert model.labels_of("scores") == ("cat", "dog")

    def test_without_a_file_there_are_none(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        assert only(tmp_path).labels_of("scores") == ()

    def test_a_missing_label_file_is_the_reason(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        put(tmp_path / "m" / "config.pbtxt", 'output { name: "s" data_type: TYPE_FP32 label_filename: "gone.txt" }')
        error = only(tmp_path).error
        assert error is not None
        assert f"label file {tmp_path / 'm' / 'gone.txt'} cannot be read" in error

    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            ("a\nb\n", ("a", "b")),
            ("\ufeffa\r\nb c \r\n\r\n", ("a", "b c")),
            ("\na\n\nb", ("", "a", "", "b")),
            ("", ()),
            ("\n \n", ()),
            ("猫", ("猫",)),
        ],
    )
    def test_lines_are_labels(self, tmp_path: Path, text: str, labels: tuple[str, ...]) -> None:
        (tmp_path / "labels.txt").write_bytes(text.encode())
        assert read_labels(tmp_path, "labels.txt") == labels

    def test_what_is_not_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match="is not UTF-8 text"):
            read_labels(tmp_path, "labels.txt")


def test_format_of_a_folder_goes_by_what_is_in_it(tmp_path: Path) -> None:
    put(tmp_path / "any.name" / "saved_model.pb")
    assert format_of(tmp_path / "any.name") == "savedmodel"
    assert format_of(tmp_path) is None


def test_the_size_of_a_model_counts_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"abc")
    (tmp_path / "variables" / "data").write_bytes(b"defgh")
    (tmp_path / "gone").symlink_to("nowhere")  # as a file that is removed between listing and looking
    assert size_of(tmp_path) == 8
    assert size_of(tmp_path / "saved_model.pb") == 3
    assert size_of(tmp_path / "nothing") == 0


def test_folders_that_move_while_they_are_read_have_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    (repository / "model").mkdir(parents=True)
    (repository / "linked").symlink_to(repository.parent)
    (repository / "circle").symlink_to("circle")
    (repository / "nowhere").symlink_to("nothing")
    (repository / "file").touch()
    (repository / ".hidden").mkdir()
    scandir = os.scandir

    def move_first(folder: int) -> Any:
        repository.rename(tmp_path / "elsewhere")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", move_first)
    assert folders_in(repository) == [repository / "linked", repository / "model"]
