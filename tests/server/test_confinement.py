"""What workers are to be confined to: which files of which model, and what is lacking where."""

from pathlib import Path

import pytest

from quadriga import confinement
from quadriga.config import ServerConfig
from quadriga.confinement import ConfinementPolicy, files_of, lacking
from quadriga.errors import ConfigError
from quadriga.model_files import ModelFiles
from quadriga.workers.messages import Confinement


@pytest.fixture
def model(tmp_path: Path) -> ModelFiles:
    (tmp_path / "m" / "1").mkdir(parents=True)
    return ModelFiles(name="m", directory=tmp_path / "m")


def policy(tmp_path: Path, gpus: int = 0, **settings: object) -> ConfinementPolicy:
    config = ServerConfig(repositories=(tmp_path,), **settings)  # type: ignore[arg-type]
    return ConfinementPolicy(config, lambda: range(gpus))


def test_without_it_memory_alone_is_bounded(tmp_path: Path, model: ModelFiles) -> None:
    asked = policy(tmp_path, worker_memory_bytes=10**9).of(model, tmp_path, ["cpu"])
    assert asked == Confinement(memory_bytes=10**9)
    assert ConfinementPolicy().of(model, tmp_path, ["cpu"]) == Confinement()


def test_each_version_has_a_folder_of_its_own_as_long_as_it_is_loaded(tmp_path: Path, model: ModelFiles) -> None:
    made = policy(tmp_path, confine_workers="on")
    first, second = (made.of(model, model.directory / "1", ["cpu"]) for _ in range(2))
    assert first.folder != second.folder
    assert Path(first.folder).parent.stat().st_mode & 0o777 == 0o700
    made.release(first)
    assert (Path(first.folder).exists(), Path(second.folder).exists()) == (False, True)
    made.close()
    assert not Path(second.folder).parent.exists()


def test_a_gpu_is_left_to_those_that_may_have_one(tmp_path: Path, model: ModelFiles) -> None:
    for devices, gpus, expected in (
        (["cpu"], 1, False), (["auto"], 0, False), (["auto"], 1, True), (["cuda:0"], 0, True),
    ):  # fmt: skip
        made = policy(tmp_path, gpus, confine_workers="on")
        assert made.of(model, tmp_path, devices).gpu is expected, devices
        made.close()


def test_a_model_reads_its_folder_and_what_its_file_is_a_link_to(tmp_path: Path, model: ModelFiles) -> None:
    blob = tmp_path / "blobs" / "b"
    blob.parent.mkdir()
    blob.write_bytes(b"")
    link = model.directory / "1" / "model.onnx"
    link.symlink_to(blob)
    assert files_of(model, link) == [model.directory, blob]


def test_a_single_file_reads_what_lies_beside_it_under_its_name_and_nothing_else(tmp_path: Path) -> None:
    for name in ("net.onnx", "net.onnx.data", "net.bin", "tokens"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "network").mkdir()
    path = tmp_path / "net.onnx"
    files = files_of(ModelFiles(name="net", directory=tmp_path, file=path), path)
    assert {file.name for file in files} == {"net.onnx", "net.onnx.data", "net.bin"}


def test_what_a_machine_lacks_is_named() -> None:
    assert lacking(3, True) == []
    assert "seccomp" in " ".join(lacking(7, False))
    assert "this one's is 2" in " ".join(lacking(2, True))
    assert len(lacking(0, False)) == 2


def test_required_means_that_nothing_starts_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "lacking", lambda: ["Landlock"])
    with pytest.raises(ConfigError, match="'required', and this machine lacks Landlock"):
        policy(tmp_path, confine_workers="required")


def test_on_says_what_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(confinement, "lacking", lambda: ["Landlock"])
    caplog.set_level("INFO")
    policy(tmp_path, confine_workers="on")
    assert "but for what needs Landlock" in caplog.text
