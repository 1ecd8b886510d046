"""Models that are given by themselves: single files and folders."""

from pathlib import Path

import pytest
from model_folders import given, only, put, served

from quadriga.errors import ConfigError
from quadriga.model_config import ModelConfig
from quadriga.repository import scan


class TestSingleFile:
    @pytest.mark.parametrize(
        ("file_name", "name", "format_name"),
        [
            ("net.onnx", "net", "onnx"),
            ("resnet50-v1.2.keras", "resnet50-v1.2", "keras"),
            ("my net (1).pt", "my_net_1", "torchscript"),
            ("m.fake", "m", "fake"),
            ("model.onnx", "model", "onnx"),
            ("digits/3/model.onnx", "digits", "onnx"),
            ("digits/03/model.onnx", "model", "onnx"),
            ("(.onnx", "model", "onnx"),
            ("digits/3/model.savedmodel/saved_model.pb", "digits", "savedmodel"),
            ("exported/saved_model.pb", "exported", "savedmodel"),
        ],
    )
    def test_it_is_version_1_under_its_own_name(
        self, tmp_path: Path, file_name: str, name: str, format_name: str
    ) -> None:
        path = put(tmp_path / file_name)
        path = path.parent if format_name == "savedmodel" else path
        model = given(path)
        assert (model.name, model.config) == (name, ModelConfig(name=name))
        (version,) = model.versions
        assert (version.version, version.path, version.format) == (1, path, format_name)
        assert served(model) == [1]

    def test_a_config_beside_it_is_not_read(self, tmp_path: Path) -> None:
        put(tmp_path / "model.toml", "nonsense = 1")
        assert served(given(put(tmp_path / "net.onnx"))) == [1]

    def test_a_link_keeps_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").symlink_to(put(tmp_path / "blobs" / "3fa9"))
        assert given(tmp_path / "net.onnx").name == "net"

    def test_a_relative_path_is_made_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(tmp_path / "digits" / "1" / "model.onnx")
        monkeypatch.chdir(tmp_path / "digits" / "1")
        model = given(Path("model.onnx"))
        assert (model.name, model.versions[0].path) == ("digits", tmp_path / "digits" / "1" / "model.onnx")

    @pytest.mark.parametrize("file_name", ["net.h5", "net", "net.savedmodel", "saved_model.pb"])
    def test_an_unknown_format_is_refused_with_the_known_ones(self, tmp_path: Path, file_name: str) -> None:
        path = put(tmp_path / file_name)
        with pytest.raises(ConfigError) as caught:
            given(path)
        assert f"model file {path} is of no known format" in str(caught.value)
        assert ".onnx" in str(caught.value)

    def test_nothing_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="does not exist"):
            given(tmp_path / "net.onnx")

    def test_it_can_be_given_a_name(self, tmp_path: Path) -> None:
        (model,) = scan([], [put(tmp_path / "net.onnx")], "digits")
        assert (model.name, model.config) == ("digits", ModelConfig(name="digits"))

    def test_the_name_is_not_that_of_models_in_a_repository(self, tmp_path: Path) -> None:
        put(tmp_path / "models" / "m" / "1" / "model.onnx")
        names = [model.name for model in scan([tmp_path / "models"], [put(tmp_path / "net.onnx")], "digits")]
        assert names == ["digits", "m"]


class TestGivenFolder:
    @pytest.mark.parametrize(
        ("file_name", "path", "format_name"),
        [
            ("anything.onnx", "anything.onnx", "onnx"),
            ("net.keras", "net.keras", "keras"),
            ("model.pt", "model.pt", "torchscript"),
            ("saved_model.pb", "", "savedmodel"),
            ("exported/saved_model.pb", "exported", "savedmodel"),
            ("0001/saved_model.pb", "0001", "savedmodel"),
            ("model.savedmodel/saved_model.pb", "model.savedmodel", "savedmodel"),
        ],
    )
    def test_the_one_model_in_it_is_version_1(
        self, tmp_path: Path, file_name: str, path: str, format_name: str
    ) -> None:
        put(tmp_path / "models" / file_name)
        put(tmp_path / "models" / "README.md")
        put(tmp_path / "models" / ".cache" / "other.onnx")
        (model,) = scan([], [tmp_path / "models"], "digits")
        assert (model.name, model.directory, model.file) == ("digits", tmp_path / "models", None)
        (version,) = model.versions
        assert (version.version, version.path, version.format) == (1, tmp_path / "models" / path, format_name)

    def test_it_is_called_after_the_folder(self, tmp_path: Path) -> None:
        put(tmp_path / "my net" / "a.onnx")
        assert given(tmp_path / "my net").name == "my_net"

    def test_folders_of_versions_are_versions_as_in_a_repository(self, tmp_path: Path) -> None:
        for version in ("1", "2"):
            put(tmp_path / "m" / version / "model.onnx")
        put(tmp_path / "m" / "beside.keras")
        put(tmp_path / "m" / "model.toml", "version_policy = {all = {}}")
        assert served(given(tmp_path / "m")) == [1, 2]

    @pytest.mark.parametrize("model_file", ["net.onnx", "saved_model.pb"])
    def test_its_files_count_as_in_a_repository(self, tmp_path: Path, model_file: str) -> None:
        put(tmp_path / "m" / model_file)
        put(tmp_path / "m" / "labels.txt", "cat\ndog")
        put(tmp_path / "m" / "export.json", '{"accuracy": 0.5}')
        put(tmp_path / "m" / "config.pbtxt", "max_batch_size: 3")
        model = given(tmp_path / "m")
        assert model.config is not None
        assert model.config.max_batch_size == 3
        assert (model.labels, model.export.accuracy) == (("cat", "dog"), 0.5)

    def test_default_model_filename_and_backend_choose(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "a.onnx")
        put(tmp_path / "m" / "b.pt")
        put(tmp_path / "m" / "model.toml", "backend = 'onnx'")
        assert given(tmp_path / "m").versions[0].format == "onnx"
        put(tmp_path / "m" / "model.toml", "default_model_filename = 'b.pt'")
        assert given(tmp_path / "m").versions[0].path == tmp_path / "m" / "b.pt"

    @pytest.mark.parametrize(
        ("files", "problem"),
        [
            ([], "has no model, but nothing; expected"),
            (["README.md", "net.h5"], "has no model, but README.md, net.h5; expected"),
            (["a.onnx", "b.keras"], "has a.onnx, b.keras; expected one model, or set default_model_filename"),
        ],
    )
    def test_a_folder_without_one_model_is_refused(self, tmp_path: Path, files: list[str], problem: str) -> None:
        (tmp_path / "m").mkdir()
        for file in files:
            put(tmp_path / "m" / file)
        with pytest.raises(ConfigError) as caught:
            given(tmp_path / "m")
        assert f"model folder {tmp_path / 'm'} {problem}" in str(caught.value)

    def test_a_slip_in_its_configuration_is_refused(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "a.onnx")
        config = put(tmp_path / "m" / "model.toml", "max_bach_size = 3")
        with pytest.raises(ConfigError, match=f"{config}: unknown key 'max_bach_size'"):
            given(tmp_path / "m")

    @pytest.mark.parametrize("method", ["iterdir", "is_file"])
    def test_a_folder_that_cannot_be_read_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        put(tmp_path / "m" / "a.onnx")

        def refuse(path: Path) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, method, refuse)
        with pytest.raises(ConfigError, match=f"{tmp_path / 'm'} cannot be read: Permission denied"):
            given(tmp_path / "m")

    def test_a_repository_may_hold_savedmodels_as_tensorflow_serving_does(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "saved_model.pb")
        (version,) = only(tmp_path).versions
        assert (version.path, version.format, version.backend) == (tmp_path / "m" / "1", "savedmodel", "tensorflow")
