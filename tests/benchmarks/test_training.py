"""Trainings of the study: their order, and what is made of what their processes say; no framework is imported."""

import json
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from study import training
from study.errors import StudyError
from study.figures import LIKE_KERAS
from study.trainee import TRAINERS

DONE = {"parameters": 11_290, "seconds": [2.0, 0.5, 0.7, 0.6], "accuracy": 0.98}


def process(monkeypatch: pytest.MonkeyPatch, status: int = 0, out: str = "", error: str = "") -> list[dict[str, Any]]:
    """Stands in for trainings' processes; returns how they were started."""
    started: list[dict[str, Any]] = []

    def run(command: list[str], **options: Any) -> Any:
        started.append({"command": command, **options})
        return subprocess.CompletedProcess(command, status, out, error)

    monkeypatch.setattr(subprocess, "run", run)
    return started


def test_a_trainings_figures_are_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    started = process(monkeypatch, out=f"a framework's greeting\n{json.dumps(DONE)}\n")
    said: list[str] = []
    found = training.train(training.Trained("keras", "torch"), 8, 1000, said.append)
    assert (found.name, found.seed, found.parameters, found.images) == ("keras on torch", 8, 11_290, 1000)
    assert found.later == 0.6
    assert said == ["keras on torch, seed 8: first epoch 2.00 s, others 0.60 s, accuracy 0.980"]
    assert started[0]["command"][1:] == ["-m", "study.trainee", "keras", "8"]
    assert started[0]["env"]["KERAS_BACKEND"] == "torch"


def test_a_training_that_fails_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    process(monkeypatch, 1, error="Traceback (most recent call last):\n  a line\nValueError: no such thing\n")
    with pytest.raises(StudyError, match=r"^training pytorch on torch ended with 1: ValueError: no such thing$"):
        training.train(training.Trained("pytorch", "torch"), 7, 1000, print)


def test_trainings_take_turns_by_seed_forth_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    process(monkeypatch, out=json.dumps(DONE))
    monkeypatch.setattr("study.training.datasets.load", lambda name: SimpleNamespace(train_images=[0] * 1000))
    found = training.measure_trainings(("tensorflow", "torch"), 3, lambda text: None)
    order = ["tensorflow", LIKE_KERAS, "keras on tensorflow", "keras on torch", "pytorch"]
    assert [each.name for each in found] == [*order, *reversed(order), *order]
    assert [each.seed for each in found] == [7] * 5 + [8] * 5 + [9] * 5


def test_every_network_has_a_trainer() -> None:
    assert {each.network for each in training.TRAINED} == set(TRAINERS)
