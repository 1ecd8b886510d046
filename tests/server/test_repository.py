"""Models of repositories in Triton's layout: which there are, and which of their versions."""

import logging
from pathlib import Path

import pytest
from model_folders import only, put, served

from quadriga.errors import ConfigError
from quadriga.model_config import ModelConfig
from quadriga.model_files import ModelFiles, ModelVersionFiles
from quadriga.repository import scan


class TestScan:
    @pytest.mark.parametrize(
        ("file_name", "format_name", "backend"),
        [
            ("model.onnx", "onnx", "onnx"),
            ("model.pt", "torchscript", "torchscript"),
            ("model.keras", "keras", "keras"),
            ("model.savedmodel/saved_model.pb", "savedmodel", "tensorflow"),
            ("model.fake", "fake", "fake"),
        ],
    )
    def test_every_format_is_found(self, tmp_path: Path, file_name: str, format_name: str, backend: str) -> None:
        put(tmp_path / "digits" / "1" / file_name)
        path = tmp_path / "digits" / "1" / file_name.split("/")[0]
        assert only(tmp_path) == ModelFiles(
            name="digits",
            directory=tmp_path / "digits",
            config=ModelConfig(name="digits"),
            versions=(ModelVersionFiles(version=1, path=path, format=format_name, backend=backend),),
        )

    def test_models_are_sorted_and_hidden_folders_and_files_are_not_models(self, tmp_path: Path) -> None:
        for name in ("zebra", "ant", ".git"):
            put(tmp_path / name / "1" / "model.onnx")
        put(tmp_path / "README.md")
        assert [model.name for model in scan([tmp_path])] == ["ant", "zebra"]

    def test_the_latest_version_is_chosen_by_number(self, tmp_path: Path) -> None:
        for version in ("2", "9", "10"):
            put(tmp_path / "m" / version / "model.onnx")
        assert served(only(tmp_path)) == [10]

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [("all = {}", [1, 2, 3]), ("latest = {num_versions = 2}", [2, 3]), ("specific = {versions = [3, 1]}", [1, 3])],
    )
    def test_the_version_policy_chooses(self, tmp_path: Path, policy: str, expected: list[int]) -> None:
        for version in ("1", "2", "3"):
            put(tmp_path / "m" / version / "model.onnx")
        put(tmp_path / "m" / "model.toml", f"[version_policy]\n{policy}")
        assert served(only(tmp_path)) == expected

    def test_a_version_that_is_asked_for_and_missing_has_its_reason(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        put(tmp_path / "m" / "model.toml", "version_policy = {specific = {versions = [1, 4]}}")
        there, missing = only(tmp_path).versions
        assert there.error is None
        assert missing.version == 4
        assert missing.error == f"version folder {tmp_path / 'm' / '4'} does not exist, but version_policy asks for it"

    def test_other_folders_are_no_versions_and_are_logged_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        odd = ["0", "007", "-1", "1.5", "draft", "٣", "9" * 30]
        for name in [*odd, ".cache"]:
            put(tmp_path / "m" / name / "model.onnx")
        with caplog.at_level(logging.WARNING):
            assert served(only(tmp_path)) == [1]
            scan([tmp_path])
        logged = [record.getMessage() for record in caplog.records]
        assert len(logged) == len(odd)
        assert all(any(f"{tmp_path / 'm' / name} is ignored" in line for line in logged) for name in odd)

    def test_a_model_without_versions_has_its_reason(self, tmp_path: Path) -> None:
        (tmp_path / "m" / "draft").mkdir(parents=True)
        model = only(tmp_path)
        assert model.versions == ()
        assert model.error is not None
        assert f"model folder {tmp_path / 'm'} has no versions" in model.error

    def test_a_version_without_a_model_says_what_it_looked_for(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "weights.onnx")
        (version,) = only(tmp_path).versions
        assert version.path == tmp_path / "m" / "1"
        assert version.error is not None
        for name in ("model.savedmodel", "model.keras", "model.pt", "model.onnx", "default_model_filename"):
            assert name in version.error

    def test_a_folder_called_as_a_file_is_no_model(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx" / "x")
        put(tmp_path / "n" / "1" / "model.savedmodel")
        assert all(model.versions[0].error is not None for model in scan([tmp_path]))

    def test_two_models_in_one_version_are_refused(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        put(tmp_path / "m" / "1" / "model.pt")
        (version,) = only(tmp_path).versions
        assert version.error is not None
        assert "has model.pt, model.onnx; expected one model" in version.error

    def test_the_backend_of_the_config_chooses_between_two_models(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        put(tmp_path / "m" / "1" / "model.pt")
        put(tmp_path / "m" / "config.pbtxt", 'backend: "onnxruntime"')
        (version,) = only(tmp_path).versions
        assert (version.path.name, version.format, version.backend) == ("model.onnx", "onnx", "onnx")

    def test_a_bad_config_is_the_reason_and_the_others_are_served(self, tmp_path: Path) -> None:
        put(tmp_path / "bad" / "1" / "model.onnx")
        config = put(tmp_path / "bad" / "model.toml", "max_bach_size = 3")
        put(tmp_path / "good" / "1" / "model.onnx")
        bad, good = scan([tmp_path])
        assert bad.config is None
        assert bad.error is not None
        assert bad.error.startswith(f"{config}: unknown key 'max_bach_size'")
        assert served(good) == [1]

    def test_a_name_in_two_repositories_is_served_from_neither(self, tmp_path: Path) -> None:
        first, second = tmp_path / "a", tmp_path / "b"
        for repository in (first, second):
            put(repository / "m" / "1" / "model.onnx")
        put(second / "other" / "1" / "model.onnx")
        twice, other = scan([first, second])
        assert (twice.name, twice.config, twice.versions) == ("m", None, ())
        assert twice.error == f"two models are called 'm', {first / 'm'} and {second / 'm'}; rename or remove one"
        assert served(other) == [1]

    def test_a_repository_given_twice_is_one(self, tmp_path: Path) -> None:
        put(tmp_path / "m" / "1" / "model.onnx")
        (model,) = scan([tmp_path, tmp_path / "m" / ".."])
        assert served(model) == [1]

    def test_single_files_join_and_may_clash(self, tmp_path: Path) -> None:
        put(tmp_path / "models" / "m" / "1" / "model.onnx")
        free, clash = put(tmp_path / "net.pt"), put(tmp_path / "m.keras")
        m, net = scan([tmp_path / "models"], [free, clash])
        assert served(net) == [1]
        assert m.error is not None
        assert str(clash) in m.error

    @pytest.mark.parametrize("name", ["missing", "file"])
    def test_what_is_no_repository_is_refused(self, tmp_path: Path, name: str) -> None:
        put(tmp_path / "file")
        with pytest.raises(ConfigError, match=f"model repository {tmp_path / name} cannot be read"):
            scan([tmp_path / name])
