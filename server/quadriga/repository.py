"""Where models lie on disk, and what all of them are called. Runs in the server process; `model_files` reads each.

The layout of a repository is Triton's:

    <repository>/
        <model>/
            model.toml or config.pbtxt    optional
            labels.txt                    optional: class names, one a line
            export.json                   optional: the accuracy that was measured when the model was made
            warmup/                       optional: files that the config's model_warmup names
            <version>/                    a positive integer
                model.onnx | model.pt | model.keras | model.savedmodel/

A version's folder may also be a SavedModel itself, as TensorFlow Serving has it. A model can be given by itself, too:
as a file, or as a folder like <model> above, whose version 1 may lie in it directly, under any name.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quadriga.errors import ConfigError
from quadriga.model_config import ModelConfig
from quadriga.model_files import ModelFiles, folders_in, name_of, read_folder, read_given


class Location(NamedTuple):
    """Where a model lies.

    Attributes:
        path: Its folder in a repository; or what was given by itself, a file or a folder.
        given: Whether it was given by itself.
    """

    path: Path
    given: bool


def places(repositories: Sequence[Path], files: Sequence[Path] = (), name: str = "") -> dict[str, list[Location]]:
    """Where the models of the repositories and those given by themselves lie, by name. Nothing is read yet.

    Args:
        repositories: Their folders.
        files: Models that are given by themselves: files, or models' folders.
        name: What those are called; empty: each after its file or folder.

    Raises:
        ConfigError: A repository is not a folder that can be read, or a file is of no known format.
    """
    found: dict[str, list[Location]] = {}
    for file in files:
        found.setdefault(name or name_of(file), []).append(Location(Path(os.path.abspath(file)), given=True))
    for repository in {repository.resolve(): repository for repository in repositories}.values():
        try:
            folders = folders_in(repository)
        except OSError as error:
            raise ConfigError(f"model repository {repository} cannot be read: {error.strerror}") from None
        for folder in folders:
            found.setdefault(folder.name, []).append(Location(folder, given=False))
    return {name: found[name] for name in sorted(found)}


def scan(repositories: Sequence[Path], files: Sequence[Path] = (), name: str = "") -> list[ModelFiles]:
    """Every model of the repositories and every one that is given by itself, by name, as `places` has them.

    A name that is there twice cannot be served.

    Raises:
        ConfigError: A repository is not a folder that can be read, or what is given by itself is no model.
    """
    return [read_model(name, found) for name, found in places(repositories, files, name).items()]


def read_model(name: str, found: Sequence[Location], config: ModelConfig | None = None) -> ModelFiles:
    """The model that lies at `found`, with `config` in place of its own configuration where one is given.

    Raises:
        ConfigError: What is given by itself is not there any more, or is no model.
    """
    if len(found) > 1:
        return ModelFiles(name=name, directory=found[0].path, error=ambiguity(name, found))
    (place,) = found
    read = read_given if place.given else read_folder
    return read(name, place.path, config)


def ambiguity(name: str, found: Sequence[Location]) -> str:
    """Why a name that is there more than once cannot be served."""
    where = " and ".join(str(place.path) for place in found)
    count, others = ("two", "one") if len(found) == 2 else (str(len(found)), "all but one")
    return f"{count} models are called {name!r}, {where}; rename or remove {others}"
