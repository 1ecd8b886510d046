"""What RepositoryModelLoad and RepositoryModelUnload may be given, checked. Server process.

A load takes `config`, a ModelConfig as JSON that stands in for the model's own, and `file:<version>/<name>`, the bytes
of a file. With files the model is made of them alone, whatever its folder has, and `config` has to come along.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from quadriga.backends import BACKENDS
from quadriga.config_file import parse_model_config
from quadriga.errors import ConfigError, InvalidInput, shown
from quadriga.model_config import ModelConfig
from quadriga.model_files import MOST_VERSION_DIGITS
from quadriga_proto.conventions import LOAD_CONFIG, LOAD_FILE_PREFIX
from quadriga_proto.inference_pb2 import ModelRepositoryParameter

UNLOAD_DEPENDENTS: Final = "unload_dependents"
#: What a file system takes, in bytes: one name, and a whole path with ours before it.
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 1024
_VERSION: Final = re.compile(rf"[1-9][0-9]{{0,{MOST_VERSION_DIGITS - 1}}}", re.ASCII)

GivenParameters = Mapping[str, ModelRepositoryParameter]

#: Parameters of backends by which files are written and read again, wherever they point to.
_ON_DISK_ALONE: Final = frozenset({"tensorrt_cache"})


class LoadParameters(NamedTuple):
    """What a load is given besides the model's name.

    Attributes:
        config: In the place of the model's own configuration; None: its own.
        files: By path, the first part of which is the version; empty: those of the model's folder.
    """

    config: ModelConfig | None = None
    files: Mapping[PurePosixPath, bytes] = {}


def check_model_name(name: str) -> None:
    """Makes sure that a name could be a model's.

    Raises:
        InvalidInput: It is empty, a path, or longer or stranger than a folder's name can be.
    """
    if not name:
        raise InvalidInput("the model's name is empty")
    if name in (".", "..") or any(separator in name for separator in "/\\"):
        raise InvalidInput(f"model name {shown(name)} is a path; expected the name of a model's folder")
    if not name.isprintable() or len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise InvalidInput(f"model name {shown(name)} is none; expected up to {_LONGEST_NAME} printable bytes")


def read_load_parameters(name: str, parameters: GivenParameters) -> LoadParameters:
    """The parameters of a load of the model `name`.

    Raises:
        InvalidInput: One is unknown, of another type, or says what cannot be; names it.
    """
    config: ModelConfig | None = None
    files: dict[PurePosixPath, bytes] = {}
    for key, parameter in parameters.items():
        if key == LOAD_CONFIG:
            _check_type(key, parameter, "string_param")
            config = _config(name, parameter.string_param)
        elif key.startswith(LOAD_FILE_PREFIX):
            _check_type(key, parameter, "bytes_param")
            files[_path(key)] = parameter.bytes_param
        else:
            raise InvalidInput(
                f"load parameter {shown(key)} is unknown; "
                f"expected {LOAD_CONFIG!r} or '{LOAD_FILE_PREFIX}<version>/<name>'"
            )
    if files and config is None:
        raise InvalidInput(
            f"the files of model {name!r} came without {LOAD_CONFIG!r}; a model made of files needs both"
        )
    _check_no_file_is_a_folder(files)
    return LoadParameters(config, files)


def check_unload_parameters(parameters: GivenParameters) -> None:
    """Makes sure that an unload is given at most `unload_dependents`, without effect: there are no ensembles.

    Raises:
        InvalidInput: One is unknown, or of another type; names it.
    """
    for key, parameter in parameters.items():
        if key != UNLOAD_DEPENDENTS:
            raise InvalidInput(f"unload parameter {shown(key)} is unknown; expected {UNLOAD_DEPENDENTS!r}")
        _check_type(key, parameter, "bool_param")


def _config(name: str, text: str) -> ModelConfig:
    try:
        config = parse_model_config(name, text)
        if config.backend is not None and config.backend not in BACKENDS:
            # A class is imported: which ones may be is up to those who can write to the repository.
            raise ConfigError(f"backend is {config.backend!r}; expected one of {', '.join(BACKENDS)} from a request")
        for key in _ON_DISK_ALONE & config.parameters.keys():
            raise ConfigError(f"parameters.{key} names a folder of the server's; expected none from a request")
    except ConfigError as error:
        raise InvalidInput(f"load parameter {LOAD_CONFIG!r} of model {name!r}: {error}") from None
    return config


def _check_type(key: str, parameter: ModelRepositoryParameter, expected: str) -> None:
    came = parameter.WhichOneof("parameter_choice")
    if came != expected:
        raise InvalidInput(f"parameter {shown(key)} is {came or 'empty'}; expected {expected}")


def _path(key: str) -> PurePosixPath:
    """The path that a file's key names: a version, and one or more names below it."""
    text = key.removeprefix(LOAD_FILE_PREFIX)
    version, *names = text.split("/")
    if not _VERSION.fullmatch(version) or not names:
        raise InvalidInput(
            f"load parameter {shown(key)} is no file of a version; expected '{LOAD_FILE_PREFIX}<version>/<name>', "
            "the version a positive integer"
        )
    for name in names:
        if name in ("", ".", "..") or "\\" in name or not name.isprintable():
            raise InvalidInput(f"load parameter {shown(key)} leads elsewhere; expected plain names after the version")
        if len(name.encode(errors="replace")) > _LONGEST_NAME:
            raise InvalidInput(f"load parameter {shown(key)} has a name of more than {_LONGEST_NAME} bytes")
    if len(text.encode(errors="replace")) > _LONGEST_PATH:
        raise InvalidInput(f"load parameter {shown(key)} is longer than {_LONGEST_PATH} bytes")
    return PurePosixPath(text)


def _check_no_file_is_a_folder(files: Iterable[PurePosixPath]) -> None:
    paths = set(files)
    for path in paths:
        if folder := paths.intersection(path.parents):
            raise InvalidInput(
                f"'{LOAD_FILE_PREFIX}{folder.pop()}' is a file, and a folder of '{LOAD_FILE_PREFIX}{path}'"
            )
