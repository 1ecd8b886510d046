"""Training and export as the command does them: real networks, real formats, each step in its own process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running_server import run_cli

from quadriga_zoo.comparison import TOLERANCE
from quadriga_zoo.errors import ExportError, ZooError
from quadriga_zoo.formats import EXPORTED, file_name
from quadriga_zoo.repository import Builder, Progress
from quadriga_zoo.runner import last_words, parse_event, run_job
from quadriga_zoo.samples import RANDOM_ROWS

QUIET = Progress(step=lambda text: None, epoch=lambda event: None)


def facts(model: Path, name: str = "export.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((model / name).read_text())
    return content


@pytest.mark.parametrize("network", ["tensorflow", "keras", "pytorch"])
def test_networks_are_really_trained(demo_repository: Path, network: str) -> None:
    training = facts(demo_repository / f"digits_{network}", "training.json")
    assert training["test_accuracy"] >= 0.95
    epochs = training["epochs"]
    assert [epoch["number"] for epoch in epochs] == list(range(1, training["hyperparameters"]["epochs"] + 1))
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 5
    assert all(epoch["seconds"] > 0 for epoch in epochs)


def test_exports_were_compared_with_their_source(demo_repository: Path) -> None:
    # Users put models of their own, and large ones, beside the demo's.
    for model in [*demo_repository.glob("digits_*"), *demo_repository.glob("same_*")]:
        export = facts(model)
        assert export["largest_difference"] <= TOLERANCE
        assert export["rows"] == 359
        assert export["accuracy"] >= 0.95
        assert (model / "labels.txt").read_text().split() == list("0123456789")


def test_only_what_is_missing_is_made(demo_repository: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_repository, tmp_path / "repository")
    repository = tmp_path / "repository"
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*") if path.is_file()}
    assert Builder(repository, QUIET).build_demo("digits", None) == []
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*") if path.is_file()} == before
    result = run_cli("zoo", "build", "--repository", str(repository))
    assert (result.returncode, "complete" in result.stdout) == (0, True)


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"PK\x03\x04 and nothing more")
    repository = tmp_path / "repository"
    result = run_cli("zoo", "export", str(broken), "--output", str(repository))
    assert result.returncode == 1
    assert "broken.keras" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(repository.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "words"), [("nowhere.keras", ["nowhere.keras", "is not there"]), ("model.pb", ["model.pb", ".h5"])]
)
def test_the_users_mistakes_are_one_line(tmp_path: Path, file: str, words: list[str]) -> None:
    result = run_cli("zoo", "export", str(tmp_path / file), "--output", str(tmp_path / "out"))
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert all(word in line for word in words)


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(demo_repository: Path, tmp_path: Path, name: str) -> None:
    source = demo_repository / "digits_keras" / "1" / "model.keras"
    with pytest.raises(ZooError, match="cannot be called"):
        Builder(tmp_path / "repository", QUIET).export(source, name, "digits", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["1", "2"])
def test_what_the_zoo_did_not_make_is_not_replaced(demo_repository: Path, tmp_path: Path, version: str) -> None:
    repository = tmp_path / "repository"
    theirs = repository / "mine_onnx" / version / "model.onnx"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    if version != "1":
        (repository / "mine_onnx" / "export.json").write_text("{}")
    with pytest.raises(ZooError, match="mine_onnx holds what the zoo did not make"):
        Builder(repository, QUIET).export(
            demo_repository / "digits_keras" / "1" / "model.keras", "mine", "digits", None
        )
    assert theirs.read_bytes() == b"theirs"
    assert [path.name for path in repository.iterdir()] == ["mine_onnx"]


# Outputs so large that two frameworks' float32 rounding differs by more than is allowed, while the SavedModel agrees.
MAKE_LOUD = """
import sys, keras
image = keras.Input((8, 8, 3))
layer = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(image))
layer = keras.layers.Dense(4)(keras.layers.Dense(64)(layer))
keras.Model(image, keras.layers.Rescaling(1e6)(layer)).save(sys.argv[1])
keras.Sequential([keras.layers.Dense(2)]).save(sys.argv[2])
"""


@pytest.mark.exports
def test_a_format_that_differs_leaves_none_of_the_others(tmp_path: Path) -> None:
    loud, shapeless = tmp_path / "loud.keras", tmp_path / "shapeless.keras"
    command = [sys.executable, "-c", MAKE_LOUD, str(loud), str(shapeless)]
    subprocess.run(command, check=True, capture_output=True)
    repository = tmp_path / "repository"
    steps: list[str] = []
    builder = Builder(repository, Progress(step=steps.append, epoch=lambda event: None))
    with pytest.raises(ZooError, match=r"differs from its source by [0-9.]+ on 64 inputs"):
        builder.export(loud, "loud", "digits", None)
    assert "loud_keras: comparing with its source" in steps
    with pytest.raises(ZooError, match=r"shapeless\.keras does not say its input's shape"):
        builder.export(shapeless, "shapeless", "digits", None)
    assert list(repository.iterdir()) == []


MAKE_H5 = """
import sys, keras
first, second = keras.Input((6,), name="first"), keras.Input((2, 3), name="second")
joined = keras.layers.Concatenate()([first, keras.layers.Flatten()(second)])
outputs = [keras.layers.Dense(4, name="a")(joined), keras.layers.Dense(1, name="b")(joined)]
keras.Model([first, second], outputs).save(sys.argv[1])
"""


@pytest.mark.exports
def test_a_users_own_model_is_written_in_all_formats(tmp_path: Path) -> None:
    source = tmp_path / "mine.h5"
    subprocess.run([sys.executable, "-c", MAKE_H5, str(source)], check=True, capture_output=True)
    made = Builder(tmp_path / "repository", QUIET).export(source, "mine", "digits", None)
    assert made == [f"mine_{form}" for form in EXPORTED]
    for name, form in zip(made, EXPORTED, strict=True):
        model = tmp_path / "repository" / name
        assert (model / "1" / file_name(form)).exists()
        export = facts(model)
        assert export["largest_difference"] <= TOLERANCE
        assert (export["compared_on"], export["rows"]) == ("random numbers", RANDOM_ROWS)
        assert "dataset" not in export
        assert not (model / "labels.txt").exists()
    assert sorted(path.name for path in (tmp_path / "repository").iterdir()) == sorted(made)


@pytest.mark.exports
def test_an_export_is_compared_on_real_images(demo_repository: Path, tmp_path: Path) -> None:
    source = demo_repository / "digits_keras" / "1" / "model.keras"
    result = run_cli("zoo", "export", str(source), "--output", str(tmp_path), "--name", "mine", timeout=900)
    assert result.returncode == 0, result.stderr
    trained = facts(demo_repository / "digits_keras", "training.json")
    for form in EXPORTED:
        export = facts(tmp_path / f"mine_{form}")
        assert (export["compared_on"], export["dataset"], export["rows"]) == ("test images", "digits", 359)
        assert export["largest_difference"] <= TOLERANCE
        assert export["top1_agreement"] == 1.0
        assert export["accuracy"] == pytest.approx(trained["test_accuracy"])
        # Ten classes do not make a network one of digits.
        assert not (tmp_path / f"mine_{form}" / "labels.txt").exists()


def test_the_images_may_be_another_data_sets(demo_repository: Path, tmp_path: Path) -> None:
    source = demo_repository / "digits_keras" / "1" / "model.keras"
    arguments = ("--output", str(tmp_path / "out"), "--dataset", "cifar10", "--data-dir", str(tmp_path))
    result = run_cli("zoo", "export", str(source), *arguments)
    assert result.returncode == 1
    assert "cifar-10-python.tar.gz" in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_framework_prints_is_no_event() -> None:
    assert parse_event('{"event": "done", "result": {}}\n') == {"event": "done", "result": {}}
    assert parse_event("WARNING: something\n") is None
    assert parse_event("12\n") is None
    assert parse_event('{"loss": 1}\n') is None


def test_a_job_that_crashes_says_why_in_one_line() -> None:
    with pytest.raises(ExportError, match=r"^verify ended with status 1: TypeError: .*no_such_argument"):
        run_job("verify", {"no_such_argument": 1})


def test_last_words() -> None:
    assert last_words(["  File x", "ValueError: bad shape", "(see above)", ""]) == "ValueError: bad shape"
    assert last_words(["loading", "Killed", ""]) == "Killed"
    assert last_words([]) == "it printed nothing"
