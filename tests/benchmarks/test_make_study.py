"""The study's command line: what it refuses, how it ends, and what it leaves out."""

import sys
from pathlib import Path
from typing import Any

import make_study
import pytest
from studies import calls, served, study
from study.errors import StudyError
from study.others import Seconds

from quadriga_client.load.report import Fingerprint


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks/make_study.py", *arguments])
    make_study.main()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in make_study.NEEDED:
        (tmp_path / "models" / name).mkdir(parents=True)
    return tmp_path / "models"


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_length_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--seconds", seconds)
    assert ended.value.code == 2
    assert f"invalid positive value: '{seconds}'" in capsys.readouterr().err


def test_without_the_demo_models_it_says_how_to_make_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "same_onnx").mkdir()
    with pytest.raises(
        SystemExit, match="does not hold same_savedmodel, same_keras, same_torchscript; run `make models`"
    ):
        run(monkeypatch, "--repository", str(tmp_path))


def test_a_folder_that_cannot_be_written_to_is_told_of_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(make_study, "measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(SystemExit, match=r"make_study: .*file"):
        run(monkeypatch, "--repository", str(repository), "--output", str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (StudyError("b answers something else than a"), "make_study: b answers something else than a"),
        (KeyboardInterrupt(), "make_study: interrupted; nothing was written"),
    ],
)
def test_it_ends_with_one_line_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, repository: Path, tmp_path: Path, error: BaseException, text: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(make_study, "measure", fail)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--repository", str(repository), "--output", str(tmp_path / "out"))
    assert ended.value.code == text
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_what_was_measured_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], repository: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(make_study, "measure", lambda *_: study())
    run(monkeypatch, "--repository", str(repository), "--output", str(tmp_path / "out"))
    assert "1.0 minutes; wrote" in capsys.readouterr().out
    assert (tmp_path / "out" / "study.md").is_file()


def test_parts_are_measured_with_what_is_installed_and_the_rest_is_told(
    monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    asked: dict[str, Any] = {}

    def part(name: str, figures: tuple[object, ...]) -> None:
        def measured(*arguments: object) -> tuple[object, ...]:
            asked[name] = arguments[:-1]
            return figures

        monkeypatch.setattr(make_study, name, measured)

    part("measure_trainings", ())
    part("measure_calls", (calls("onnx", "as served", 1, 1.0),))
    part("measure_served", (served("onnx", 1.0),))
    monkeypatch.setattr(make_study, "fingerprint", lambda: Fingerprint(machine={}, versions={}, load_average=0.0))
    seen = iter([Seconds(all=100.0, busy=50.0, own=10.0), Seconds(all=300.0, busy=200.0, own=110.0)])
    monkeypatch.setattr("study.others.now", lambda: next(seen))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jax" else object())
    found = make_study.measure(repository, 1.0)
    assert asked["measure_trainings"] == (("tensorflow", "torch"), make_study.SEEDS)
    assert asked["measure_served"] == (repository, ("tensorflow", "torch"), make_study.ROUNDS, 1.0)
    assert asked["measure_calls"][-1] == pytest.approx(make_study.CALLS_SHARE)
    assert found.left_out == ("Keras on jax is left out: jax is not installed.",)
    assert len(found.code) == 3
    assert found.others == 0.25
