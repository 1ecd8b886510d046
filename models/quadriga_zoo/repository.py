"""Filling a model repository: which models it is to hold, what is missing, and how each is made. In `quadriga zoo`.

Models are made in a folder beside their place. Those of one network are moved there together, whole, when every one has
passed its check, so that an interrupted or failed build leaves nothing half done.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from quadriga_client.conformance.roles import ZOO_MODELS
from quadriga_zoo.errors import ZooError
from quadriga_zoo.formats import EXPORTED, backend_name, file_name
from quadriga_zoo.runner import OnEpoch, run_job
from quadriga_zoo.workshop import workshop


class Trained(NamedTuple):
    """A network that is trained for the demo, and the models that come of one training: name suffix -> format.

    Keras also downloads data sets, so `keras_backend` is the framework that the network's process has anyway.
    """

    network: str
    keras_backend: str
    models: Mapping[str, str]


DEMO_NETWORKS: Final = (
    Trained("tensorflow", "tensorflow", {"tensorflow": "savedmodel"}),
    Trained("keras", "tensorflow", {"keras": "keras"}),
    Trained("pytorch", "torch", {"pytorch": "torchscript", "onnx": "onnx"}),
)
SAME: Final = "same"
#: Warming up more batch sizes of a large network would take longer than loading it. The parameter is for people: a
#: server shows it in the model's configuration.
APPLICATION_CONFIG: Final = """\
max_batch_size = 8
[parameters]
untrained = true    # random weights, for load tests: the classes mean nothing
"""


class Progress(NamedTuple):
    """Where the builder tells what it does.

    Attributes:
        step: A new step begins.
        epoch: An epoch of the current training ended.
    """

    step: Callable[[str], None]
    epoch: OnEpoch


class Builder:
    """Builds models into one repository."""

    def __init__(self, repository: Path, progress: Progress, *, verbose: bool = False) -> None:
        """Works in `repository`, which is made when the first model is ready."""
        self._repository = repository
        self._progress = progress
        self._verbose = verbose

    def has(self, name: str) -> bool:
        """Whether a model is there; only whole models ever are."""
        return (self._repository / name / "export.json").is_file()

    def build_demo(self, dataset: str, data_dir: Path | None) -> list[str]:
        """Trains and exports the demo's models as far as they are missing; returns the names of those made."""
        made: list[str] = []
        data = _data_arguments(dataset, data_dir)
        for trained in DEMO_NETWORKS:
            wanted = {f"{dataset}_{suffix}": form for suffix, form in trained.models.items()}
            if missing := {name: form for name, form in wanted.items() if not self.has(name)}:
                self._train(trained, missing, data)
                made += missing
        if any(not self.has(f"{SAME}_{form}") for form in EXPORTED):
            source = self._repository / f"{dataset}_keras" / "1" / file_name("keras")
            made += self.export(source, SAME, dataset, data_dir, trained_on_it=True)
        return made

    def export(
        self, source: Path, name: str, dataset: str, data_dir: Path | None, *, trained_on_it: bool = False
    ) -> list[str]:
        """Writes a Keras model in all four formats, compared on a data set's images; returns the models' names.

        `trained_on_it`: the network's classes are the data set's, and are called so.
        """
        if not source.is_file():
            raise ZooError(f"{source} is not there; expected a .keras or .h5 file")
        if not name or Path(name).name != name or name.startswith("."):
            raise ZooError(f"a model cannot be called {name!r}; expected a folder's name without a / or a leading dot")
        self._refuse_foreign(f"{name}_{form}" for form in EXPORTED)
        data = {**_data_arguments(dataset, data_dir), "trained_on_it": trained_on_it}
        with workshop(self._repository) as folder:
            return self._export(source, name, folder, data)

    def export_application(self, application: str, dataset: str, data_dir: Path | None) -> list[str]:
        """Writes one of Keras' applications, untrained, in all four formats; returns the models' names."""
        self._refuse_foreign(f"{application}_{form}" for form in EXPORTED)
        data = {**_data_arguments(dataset, data_dir), "trained_on_it": False}
        with workshop(self._repository) as folder:
            self._step(f"{application}: random weights")
            source = folder / "source.keras"
            self._run("application", name=application, source=str(source))
            return self._export(source, application, folder, data, {"untrained": True}, APPLICATION_CONFIG)

    def write_conformance(self) -> list[str]:
        """Writes the models of known behaviour that `quadriga conformance` asks for; returns their names."""
        names = [name for models in ZOO_MODELS.values() for name in models]
        self._refuse_foreign(names)
        with workshop(self._repository) as folder:
            self._step("models of known behaviour")
            self._run("conformance", target=str(folder))
            self._place(folder, names)
        return names

    def _train(self, trained: Trained, models: Mapping[str, str], data: Mapping[str, Any]) -> None:
        self._refuse_foreign(models)
        with workshop(self._repository) as folder:
            self._step(f"{' and '.join(models)}: training")
            training = self._run(
                "train", keras_backend=trained.keras_backend, network=trained.network, target=str(folder), **data
            )
            labels = training.pop("labels")
            for name, form in models.items():
                self._finish(name, form, folder, {}, labels=labels, training=training)
            self._place(folder, models)

    def _export(
        self,
        source: Path,
        name: str,
        folder: Path,
        data: Mapping[str, Any],
        facts: Mapping[str, Any] = MappingProxyType({}),
        config: str = "",
    ) -> list[str]:
        self._step(f"{name}: exporting")
        written = self._run("export_tensorflow", source=str(source), target=str(folder), **data)
        self._run("export_torchscript", keras_backend="torch", folder=str(folder), **written)
        names = [f"{name}_{form}" for form in EXPORTED]
        for model, form in zip(names, EXPORTED, strict=True):
            self._finish(model, form, folder, {"source": source.name, **facts}, labels=written["labels"], config=config)
        self._place(folder, names)
        return names

    def _finish(
        self,
        name: str,
        form: str,
        folder: Path,
        facts: Mapping[str, Any],
        *,
        labels: Sequence[str],
        training: Mapping[str, Any] | None = None,
        config: str = "",
    ) -> None:
        """Compares one file with its source and makes the model's folder of it, still in the workshop."""
        self._step(f"{name}: comparing with its source")
        made = folder / file_name(form)
        reference = str(folder / "reference.npz")
        checked = self._run("verify", file=str(made), backend=backend_name(form), reference=reference)
        model = folder / name
        (model / "1").mkdir(parents=True)
        made.rename(model / "1" / made.name)
        if labels:
            (model / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
        if config:
            (model / "model.toml").write_text(config)
        if training is not None:
            (model / "training.json").write_text(json.dumps(training, indent=2) + "\n")
        (model / "export.json").write_text(json.dumps({"format": form, **facts, **checked}, indent=2) + "\n")

    def _place(self, folder: Path, names: Iterable[str]) -> None:
        """Moves finished models to their places; what they replace goes to the workshop, which is deleted."""
        for name in names:
            place = self._repository / name
            if place.exists():
                place.rename(folder / f"replaced-{name}")
            (folder / name).rename(place)

    def _refuse_foreign(self, names: Iterable[str]) -> None:
        """Refuses to replace what the zoo did not make, before any work is done."""
        for name in names:
            place = self._repository / name
            if not place.exists():
                continue
            versions = {path.name for path in place.iterdir() if path.name.isdecimal()} if place.is_dir() else set()
            if not self.has(name) or versions - {"1"}:
                raise ZooError(
                    f"{place} holds what the zoo did not make and would be replaced; move it away, or use another name "
                    "or repository"
                )

    def _run(self, task: str, *, keras_backend: str = "tensorflow", **arguments: object) -> dict[str, Any]:
        return run_job(
            task, arguments, keras_backend=keras_backend, on_epoch=self._progress.epoch, verbose=self._verbose
        )

    def _step(self, text: str) -> None:
        self._progress.step(text)


def _data_arguments(dataset: str, data_dir: Path | None) -> dict[str, str | None]:
    """The data set as jobs are told it, in JSON values."""
    return {"dataset": dataset, "data_dir": None if data_dir is None else str(data_dir)}
