"""Models on disk: Triton's layout, single files, labels and what changes."""

import logging
import os
from pathlib import Path

import pytest

from quadriga.errors import ConfigError
from quadriga.fingerprint import fingerprint
from quadriga.model_config import ModelConfig
from quadriga.model_files import ModelFiles, ModelVersionFiles, format_of, read_labels, size_of
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
        assert read_labels(tmp_path / "labels.txt") == labels

    def test_what_is_not_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match="is not UTF-8 text"):
            read_labels(tmp_path / "labels.txt")


def given(path: Path) -> ModelFiles:
    """As `quadriga serve PATH` finds it."""
    (model,) = scan([], [path])
    return model


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


def test_format_of_a_folder_goes_by_what_is_in_it(tmp_path: Path) -> None:
    put(tmp_path / "any.name" / "saved_model.pb")
    assert format_of(tmp_path / "any.name") == "savedmodel"
    assert format_of(tmp_path) is None


class TestFingerprint:
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Path:
        put(tmp_path / "m" / "1" / "model.savedmodel" / "saved_model.pb")
        put(tmp_path / "m" / "1" / "model.savedmodel" / "variables" / "variables.index")
        put(tmp_path / "m" / "labels.txt", "a")
        return tmp_path

    def test_it_stays_while_nothing_changes(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        assert before
        assert fingerprint(only(repository)) == before

    def test_a_file_deep_down_that_is_written_changes_it(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        index = repository / "m" / "1" / "model.savedmodel" / "variables" / "variables.index"
        os.utime(index, ns=(0, index.stat().st_mtime_ns + 1))
        assert fingerprint(only(repository)) != before

    def test_a_file_that_is_replaced_by_one_as_old_and_as_long_changes_it(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        labels = repository / "m" / "labels.txt"
        kept = labels.stat()
        fresh = put(repository / "fresh", "b")
        os.utime(fresh, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        fresh.replace(labels)
        assert fingerprint(only(repository)) != before

    def test_files_and_folders_that_come_and_go_change_it(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        (repository / "m" / "2").mkdir()
        with_folder = fingerprint(only(repository))
        put(repository / "m" / "model.toml", "")
        with_file = fingerprint(only(repository))
        (repository / "m" / "labels.txt").unlink()
        assert len({before, with_folder, with_file, fingerprint(only(repository))}) == 4

    def test_other_models_do_not_change_it(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        put(repository / "other" / "1" / "model.onnx")
        assert fingerprint(scan([repository])[0]) == before

    def test_links_in_a_circle_and_to_nowhere_are_survived(self, repository: Path) -> None:
        (repository / "m" / "1" / "up").symlink_to(repository / "m")
        (repository / "m" / "1" / "nowhere").symlink_to(repository / "gone")
        assert len(fingerprint(only(repository))) < 20

    def test_of_a_given_folder_all_files_count(self, tmp_path: Path) -> None:
        put(tmp_path / "net.onnx")
        before = fingerprint(given(tmp_path))
        put(tmp_path / "labels.txt")
        assert fingerprint(given(tmp_path)) != before

    def test_of_a_single_file_only_the_file_counts(self, tmp_path: Path) -> None:
        path = put(tmp_path / "net.onnx")
        before = fingerprint(given(path))
        put(tmp_path / "beside.txt")
        assert fingerprint(given(path)) == before
        put(path, "longer than before")
        assert fingerprint(given(path)) != before


def test_the_size_of_a_model_counts_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"abc")
    (tmp_path / "variables" / "data").write_bytes(b"defgh")
    (tmp_path / "gone").symlink_to("nowhere")  # as a file that is removed between listing and looking
    assert size_of(tmp_path) == 8
    assert size_of(tmp_path / "saved_model.pb") == 3
    assert size_of(tmp_path / "nothing") == 0
