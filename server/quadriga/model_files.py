"""One model on disk: what its folder or its file holds, and what of it can be served. Runs in the server process.

Knows nothing of processes: what is found is a value, and loading it is somebody else's work. `repository` says how
models lie beside each other.
"""

import errno
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from quadriga.backends import FORMATS, Format
from quadriga.config_file import load_model_config
from quadriga.errors import ConfigError
from quadriga.export_file import NOTHING, Export, read_export
from quadriga.folder_files import read_inside
from quadriga.model_config import ModelConfig
from quadriga.warm_up import WARM_UP_FOLDER

LABELS_FILE: Final = "labels.txt"
#: What makes a folder a SavedModel.
_SAVED_MODEL: Final = "saved_model.pb"
#: The longest version number, so that it fits the 64 bits of the protocol.
MOST_VERSION_DIGITS: Final = 18
_VERSION: Final = re.compile(rf"[1-9][0-9]{{0,{MOST_VERSION_DIGITS - 1}}}", re.ASCII)
#: A million names of 64 bytes each; more is no list of classes.
_MOST_LABEL_BYTES: Final = 64 << 20
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]+")

log = logging.getLogger("quadriga.model_files")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersionFiles:
    """One version of a model.

    Attributes:
        version: Its number.
        path: Of the model's file, or its folder for a SavedModel; of the version's folder where there is an error.
        format: A key of `FORMATS`; empty where there is an error, or where a backend of the user's own reads a file of
            no known suffix.
        backend: A key of `BACKENDS`, or "module:Class"; empty where there is an error.
        error: Why it cannot be loaded; None: nothing is known against it.
    """

    version: int
    path: Path
    format: str = ""
    backend: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model.

    Attributes:
        name: Of the model.
        directory: Its folder; for a single file, the folder that the file is in.
        file: The single file that it was made of; None: it has a folder of its own.
        config: Its settings; None where they cannot be read.
        error: Why no version can be served; None: see the versions.
        misconfigured: Whether `error` is about its configuration: the operator's mistake, not a missing or bad file.
        versions: Those that the version policy chooses, ascending.
        labels: Class names of every output that has none of its own, in index order; empty where there are none.
        output_labels: Class names by output, for outputs that have a file of their own.
        export: What was measured when it was made; nothing where several versions lie there, since the file does not
            say which of them it is about.
    """

    name: str
    directory: Path
    file: Path | None = None
    config: ModelConfig | None = None
    error: str | None = None
    misconfigured: bool = False
    versions: tuple[ModelVersionFiles, ...] = ()
    labels: tuple[str, ...] = ()
    output_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    export: Export = NOTHING

    def labels_of(self, output: str) -> tuple[str, ...]:
        """The class names of an output, in index order; empty where no file gives them."""
        return self.output_labels.get(output, self.labels)


def size_of(path: Path) -> int:
    """Bytes of a model's file, or of all files in its folder; of what is not there, or goes away meanwhile, none."""
    if path.is_dir():
        return sum(size_of(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def name_of(path: Path) -> str:
    """What a model that is given by itself is called where it is given no name: its file without suffix, or its folder.

    `<model>/<version>/model.onnx` is `<model>`.

    Raises:
        ConfigError: Nothing is there, it cannot be read, or it is a file of no known format.
    """
    path, known = _given(path)
    name = path.name.removesuffix(FORMATS[known].suffix) if known else path.name
    if name == "model" and _VERSION.fullmatch(path.parent.name):
        name = path.parent.parent.name
    return _NOT_IN_NAMES.sub("_", name).strip("._-") or "model"


def read_given(name: str, path: Path, config: ModelConfig | None = None) -> ModelFiles:
    """The model `name` that is given by itself; `config` stands in for its own.

    A file is its version 1, and no configuration is read beside it. A folder is a model's folder, as in a repository;
    without folders of versions, the one model in it is version 1: the folder itself where it is a SavedModel, or what
    lies in it under any name of a known format.

    Raises:
        ConfigError: Nothing is there, it cannot be read, or it is no model: the operator names what is to be served.
    """
    path, known = _given(path)
    if known and not path.is_dir():
        config = config or ModelConfig(name=name)
        backend = config.backend or FORMATS[known].backend
        version = ModelVersionFiles(version=1, path=path, format=known, backend=backend)
        return ModelFiles(name=name, directory=path.parent, file=path, config=config, versions=(version,))
    model = read_folder(name, path, config, flat=True)
    if model.error:
        raise ConfigError(model.error)
    return model


def _given(path: Path) -> tuple[Path, str | None]:
    """The absolute path and the format of what is given by itself; no format: a folder, to be looked into."""
    path = Path(os.path.abspath(path))  # links stay: their name is the one that the user knows
    try:
        if not path.exists():
            raise ConfigError(f"model file {path} does not exist")
        known = format_of(path)
        if known is None and not path.is_dir():
            raise ConfigError(f"model file {path} is of no known format; expected {_formats()}, or a folder")
    except OSError as error:
        raise ConfigError(f"model file {path} cannot be read: {error.strerror}") from None
    return path, known


def format_of(path: Path) -> str | None:
    """The key of `FORMATS` for a file or folder, by its suffix and whether it is a folder; None: it is none of them."""
    if (path / _SAVED_MODEL).is_file():
        return "savedmodel"
    for name, known in FORMATS.items():
        if path.name.endswith(known.suffix) and _is_model(path, name):
            return name
    return None


def read_labels(folder: Path, name: str) -> tuple[str, ...]:
    """The class names in a file of a model's folder, one a line, in index order; blank lines at its end do not count.

    Raises:
        ConfigError: The file cannot be read, lies elsewhere, or is not UTF-8 text.
    """
    path = folder / name
    try:
        text = read_inside(folder, name, _MOST_LABEL_BYTES).decode("utf-8-sig")
    except ConfigError as error:
        raise ConfigError(f"label file {path} {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"label file {path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    return tuple(line.strip() for line in text.rstrip().split("\n")) if text.strip() else ()


def folders_in(parent: Path) -> list[Path]:
    """The folders in a folder, by name, without hidden ones, and without those whose name no message can carry.

    They are looked at in that very folder, even if its path leads elsewhere meanwhile, or nowhere.

    Raises:
        OSError: It cannot be read.
    """
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
    finally:
        os.close(descriptor)
    folders = []
    for path in map(parent.joinpath, names):
        if path.name.isprintable():
            folders.append(path)
        else:
            _warn_unprintable(path)
    return folders


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a folder, or leads to one; a link that leads nowhere does not."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return False
        raise


def read_folder(name: str, directory: Path, config: ModelConfig | None = None, *, flat: bool = False) -> ModelFiles:
    """The model `name` whose folder is `directory`; `config` stands in for the folder's own.

    With `flat`, and without folders of versions, version 1 lies in the folder directly.
    """
    misconfigured = True
    try:
        config = config or load_model_config(directory, name)
        misconfigured = False
        labels = read_labels(directory, LABELS_FILE) if (directory / LABELS_FILE).exists() else ()
        output_labels = {output: read_labels(directory, file) for output, file in config.label_files.items()}
        if flat and not any(_VERSION.fullmatch(folder.name) for folder in folders_in(directory)):
            found = [1]
            versions: tuple[ModelVersionFiles, ...] = (_flat_version(directory, config),)
        else:
            found = _versions(directory)
            chosen = config.versions.choose(found)
            versions = tuple(_version(directory / str(number), number, config) for number in chosen)
        export = read_export(directory) if len(found) == 1 else NOTHING
    except ConfigError as error:
        return ModelFiles(name=name, directory=directory, error=str(error), misconfigured=misconfigured)
    except OSError as error:  # such as a network's file system that does not answer
        problem = f"{error.filename or directory} cannot be read: {error.strerror}"
        return ModelFiles(name=name, directory=directory, error=problem)
    return ModelFiles(
        name=name,
        directory=directory,
        config=config,
        versions=versions,
        labels=labels,
        output_labels=output_labels,
        export=export,
    )


def _versions(directory: Path) -> list[int]:
    try:
        folders = folders_in(directory)
    except OSError as error:
        raise ConfigError(f"model folder {directory} cannot be read: {error.strerror}") from None
    versions = []
    for folder in folders:
        if _VERSION.fullmatch(folder.name):
            versions.append(int(folder.name))
        elif folder.name != WARM_UP_FOLDER:
            _warn_ignored(folder)
    if not versions:
        raise ConfigError(f"model folder {directory} has no versions; expected a folder 1 with the model's file in it")
    return versions


@cache
def _warn_unprintable(folder: Path) -> None:
    log.warning("%a is ignored: its name is not printable UTF-8", str(folder))


@cache  # repositories are scanned again and again when they are polled
def _warn_ignored(folder: Path) -> None:
    log.warning("%s is ignored: a version's folder is called 1, 2 and so on, without leading zeros", folder)


def _version(folder: Path, number: int, config: ModelConfig) -> ModelVersionFiles:
    try:
        path, format_name = _model_file(folder, config)
    except ConfigError as error:
        return ModelVersionFiles(version=number, path=folder, error=str(error))
    backend = config.backend or FORMATS[format_name].backend
    return ModelVersionFiles(version=number, path=path, format=format_name, backend=backend)


def _flat_version(directory: Path, config: ModelConfig) -> ModelVersionFiles:
    """Version 1 of a model whose folder it lies in directly."""
    formats = _formats_of(config)
    if config.file_name is not None:
        path, format_name = _named_file(directory, config.file_name, config)
    else:
        inside = [path for path in sorted(directory.iterdir()) if not path.name.startswith(".")]
        candidates = [directory] if (directory / _SAVED_MODEL).is_file() else inside
        found = [(path, known) for path in candidates if (known := format_of(path)) in formats]
        if len(found) > 1:
            names = ", ".join(path.name for path, _ in found)
            raise ConfigError(
                f"model folder {directory} has {names}; expected one model, or set default_model_filename"
            )
        if not found:
            there = ", ".join(path.name for path in inside) or "nothing"
            raise ConfigError(
                f"model folder {directory} has no model, but {there}; expected {_formats(formats)}, "
                "a SavedModel's files, or a folder 1 with the model's file in it"
            )
        ((path, format_name),) = found
    backend = config.backend or FORMATS[format_name].backend
    return ModelVersionFiles(version=1, path=path, format=format_name, backend=backend)


def _model_file(folder: Path, config: ModelConfig) -> tuple[Path, str]:
    """The model's file in a version's folder, and its format, which may be empty where the config gives a backend."""
    if not folder.is_dir():
        raise ConfigError(f"version folder {folder} does not exist, but version_policy asks for it")
    if config.file_name is not None:
        return _named_file(folder, config.file_name, config)
    formats = _formats_of(config)
    expected = {name: folder / f"model{known.suffix}" for name, known in formats.items()}
    found = [(path, name) for name, path in expected.items() if _is_model(path, name)]
    if "savedmodel" in formats and (folder / _SAVED_MODEL).is_file():
        found.append((folder, "savedmodel"))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path, _ in found)
        raise ConfigError(f"version folder {folder} has {names}; expected one model, or set default_model_filename")
    names = ", ".join(path.name for path in expected.values())
    raise ConfigError(f"version folder {folder} has no model; expected one of {names}, or set default_model_filename")


def _formats_of(config: ModelConfig) -> dict[str, Format]:
    """Those that the config's backend reads; all where it has none, or one of the user's own."""
    return {name: known for name, known in FORMATS.items() if known.backend == config.backend} or FORMATS


def _named_file(folder: Path, file_name: str, config: ModelConfig) -> tuple[Path, str]:
    """The file that the config names, and its format, which may be empty where the config gives a backend."""
    path = folder / file_name
    if not path.exists():
        raise ConfigError(f"model file {path} does not exist, but default_model_filename names it")
    if not path.is_file() and not path.is_dir():
        raise ConfigError(f"model file {path} is a pipe, a device or a socket; expected a file or a folder")
    formats = _formats_of(config)
    format_name = next(iter(formats)) if len(formats) == 1 else format_of(path)
    if format_name is None and config.backend is None:
        raise ConfigError(f"model file {path} is of no known format; expected {_formats()}, or set backend")
    return path, format_name or ""


def _is_model(path: Path, format_name: str) -> bool:
    return path.is_dir() if format_name == "savedmodel" else path.is_file()


def _formats(formats: Mapping[str, Format] = FORMATS) -> str:
    return f"a name that ends in one of {', '.join(known.suffix for known in formats.values())}"
