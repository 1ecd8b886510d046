"""One step of building models, in a process of its own: `python -m quadriga_zoo.job TASK ARGUMENTS PID`.

TensorFlow, PyTorch and the two settings of KERAS_BACKEND do not share a process well, so each task imports just what it
needs. ARGUMENTS is a JSON object, the task's keyword arguments; PID is the command's. What happens is told on stdout, a
JSON object a line:
{"event": "epoch", ...}, and at the end {"event": "done", "result": ...} or {"event": "failed", "message": ...}.
"""

import ctypes
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from quadriga_zoo import applications, datasets
from quadriga_zoo.comparison import Reference, compare
from quadriga_zoo.errors import ExportError, ZooError
from quadriga_zoo.export import Names
from quadriga_zoo.formats import file_name
from quadriga_zoo.networks import INPUT, OUTPUT, Epoch, Hyperparameters

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
#: In the folder of a network's files: what its source computes.
REFERENCE: Final = "reference.npz"


def tell(event: str, **content: Any) -> None:  # noqa: ANN401
    """Prints one event for the parent."""
    print(json.dumps({"event": event, **content}), flush=True)


def train(network: str, dataset: str, data_dir: str | None, target: str) -> dict[str, Any]:
    """Trains one of `quadriga_zoo.networks` and writes its files and the reference into `target`.

    Files: a SavedModel, a .keras file, or TorchScript and ONNX; reference.npz. Returns what training.json holds.
    """
    data = datasets.load(dataset, None if data_dir is None else Path(data_dir))
    folder = Path(target)
    hyper = Hyperparameters()
    epochs: list[Epoch] = []

    def report(epoch: Epoch) -> None:
        epochs.append(epoch)
        tell("epoch", number=epoch.number, of=hyper.epochs, loss=epoch.loss, accuracy=epoch.accuracy)

    scores = TRAINERS[network](data, hyper, report, folder)
    Reference((data.test_images,), (scores,), data.test_labels, data.name).save(folder / REFERENCE)
    return {
        "network": network,
        "dataset": data.name,
        "hyperparameters": dataclasses.asdict(hyper),
        "epochs": [dataclasses.asdict(epoch) for epoch in epochs],
        "test_accuracy": epochs[-1].accuracy,
        "labels": list(data.labels),
    }


Trainer = Callable[[datasets.Dataset, Hyperparameters, Callable[[Epoch], None], Path], datasets.Images]


def _train_tensorflow(
    data: datasets.Dataset, hyper: Hyperparameters, report: Callable[[Epoch], None], folder: Path
) -> datasets.Images:
    from quadriga_zoo.networks import tensorflow

    network = tensorflow.train(data, hyper, report)
    tensorflow.export(network, folder / file_name("savedmodel"))
    return tensorflow.predict(network, data.test_images)


def _train_keras(
    data: datasets.Dataset, hyper: Hyperparameters, report: Callable[[Epoch], None], folder: Path
) -> datasets.Images:
    from quadriga_zoo.networks import keras

    model = keras.train(data, hyper, report)
    keras.export(model, folder / file_name("keras"))
    return keras.predict(model, data.test_images)


def _train_pytorch(
    data: datasets.Dataset, hyper: Hyperparameters, report: Callable[[Epoch], None], folder: Path
) -> datasets.Images:
    from quadriga_zoo.export import finish_onnx, tensor_metadata, write_torchscript
    from quadriga_zoo.networks import pytorch

    network = pytorch.train(data, hyper, report)
    scores = pytorch.predict(network, data.test_images)
    names = Names((INPUT,), (OUTPUT,))
    metadata = tensor_metadata(names, (data.test_images,), (scores,), data.labels)
    write_torchscript(network, [data.test_images[:2]], metadata, folder / file_name("torchscript"))
    pytorch.export_onnx(network, folder / file_name("onnx"))
    finish_onnx(folder / file_name("onnx"), names, data.labels)
    return scores


TRAINERS: Final[dict[str, Trainer]] = {
    "tensorflow": _train_tensorflow,
    "keras": _train_keras,
    "pytorch": _train_pytorch,
}


def export_tensorflow(
    source: str, dataset: str, data_dir: str | None, trained_on_it: bool, target: str
) -> dict[str, Any]:
    """Writes a Keras model as `.keras`, SavedModel and ONNX, and its reference; needs KERAS_BACKEND=tensorflow.

    The data set's class names are the network's own only where it was `trained_on_it`: many networks have ten classes.
    """
    from quadriga_zoo.export import names_of, write_onnx, write_saved_model
    from quadriga_zoo.samples import samples_for

    folder = Path(target)
    model = _load_keras(Path(source))
    samples = samples_for(model, dataset, None if data_dir is None else Path(data_dir))
    labels = samples.classes if trained_on_it else ()
    names = names_of(model)
    inputs = samples.inputs
    outputs = model.predict(list(inputs) if len(inputs) > 1 else inputs[0], verbose=0, batch_size=32)
    outputs = tuple(outputs) if isinstance(outputs, (list, tuple)) else (outputs,)
    Reference(inputs, outputs, samples.labels, samples.dataset).save(folder / REFERENCE)
    model.save(folder / file_name("keras"))
    write_saved_model(model, names, folder / file_name("savedmodel"))
    write_onnx(model, names, folder / file_name("onnx"), labels)
    return {"inputs": list(names.inputs), "outputs": list(names.outputs), "labels": list(labels)}


def export_torchscript(folder: str, inputs: list[str], outputs: list[str], labels: list[str]) -> dict[str, Any]:
    """Writes `folder`'s .keras file as TorchScript; needs KERAS_BACKEND=torch.

    With the channels first, as PyTorch's kernels want them, where the model can be rewritten so and computes the same.
    """
    from quadriga_zoo.channels import channels_first
    from quadriga_zoo.comparison import TOLERANCE, largest_difference
    from quadriga_zoo.export import tensor_metadata, write_torchscript

    reference = Reference.load(Path(folder) / REFERENCE)
    model = _load_keras(Path(folder) / file_name("keras"))
    metadata = tensor_metadata(Names(tuple(inputs), tuple(outputs)), reference.inputs, reference.outputs, labels)
    examples = [array[:2] for array in reference.inputs]
    module = _positional(model, len(examples))
    rewritten = channels_first(model)
    if rewritten is not None:
        candidate = _positional(rewritten, 1, transposed=True)
        if largest_difference([_run_torch(candidate, examples)], [reference.outputs[0][:2]]) <= TOLERANCE:
            module = candidate
    write_torchscript(module, examples, metadata, Path(folder) / file_name("torchscript"))
    return {}


def application(name: str, source: str) -> dict[str, Any]:
    """Writes one of Keras' applications with seeded random weights as the file `source`."""
    applications.build(name).save(source)
    return {}


def conformance(target: str) -> dict[str, Any]:
    """Writes the models that `quadriga conformance` asks for into `target`; see `quadriga_zoo.conformance`."""
    from quadriga_zoo.conformance import write_conformance_models

    return {"models": write_conformance_models(Path(target))}


def verify(file: str, backend: str, reference: str) -> dict[str, Any]:
    """Compares an exported file with its source; see `quadriga_zoo.comparison.compare`."""
    return compare(Path(file), backend, Reference.load(Path(reference)))


def _load_keras(path: Path) -> Any:  # noqa: ANN401
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ExportError(
            f"{path} cannot be loaded by Keras: {lines[-1][:300] if lines else type(error).__name__}"
        ) from error
    try:
        known = bool(model.inputs)
    except AttributeError:
        known = False
    if not known:
        raise ExportError(f"{path} does not say its input's shape; add a keras.Input to the model and save it again")
    return model


def _run_torch(module: Any, inputs: Sequence[Any]) -> Any:  # noqa: ANN401
    import torch

    with torch.inference_mode():
        return module(*map(torch.from_numpy, inputs)).numpy()


def _positional(model: Any, inputs: int, *, transposed: bool = False) -> Any:  # noqa: ANN401
    """A torch module that takes the Keras model's inputs one by one and gives a tensor or a tuple.

    `transposed`: it takes one NHWC image for a model over NCHW.
    """
    import torch

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:  # noqa: ANN401
            if transposed:
                tensors = (tensors[0].permute(0, 3, 1, 2),)
            outputs = self.model(tensors[0] if inputs == 1 else list(tensors), training=False)
            return tuple(outputs) if isinstance(outputs, (list, tuple)) else outputs

    return Positional()


def end_with(command: int) -> None:
    """Has the kernel kill this process when the command is killed: a training would go on for minutes."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != command:  # it has gone before
        sys.exit(1)


TASKS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "train": train,
    "export_tensorflow": export_tensorflow,
    "export_torchscript": export_torchscript,
    "application": application,
    "conformance": conformance,
    "verify": verify,
}


def main(task: str, arguments: str, command: int) -> None:
    """Runs one task for the command with that pid; ends the process with status 1 when it fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    end_with(command)
    try:
        result = TASKS[task](**json.loads(arguments))
    except ZooError as error:
        tell("failed", message=str(error))
        sys.exit(1)
    except ModuleNotFoundError as error:
        tell("failed", message=f"{error.name} is not installed; the zoo needs: pip install 'quadriga[zoo]'")
        sys.exit(1)
    tell("done", result=result)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
