"""A model's settings as its folder holds them. Runs in the server process.

One schema, the `ModelConfig` message, in two spellings: `model.toml`, and Triton's `config.pbtxt`. Neither is needed
where the model's own file says enough.
"""

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format, text_format

from quadriga.backends import BACKENDS, FORMATS, TRITON_NAMES
from quadriga.errors import ConfigError, one_line
from quadriga.folder_files import read_file
from quadriga.model_config import (
    DEFAULT_BATCH_SECONDS,
    DEFAULT_LOAD_SECONDS,
    DeviceKind,
    InstanceGroup,
    ModelConfig,
    VersionPolicy,
)
from quadriga.queue_policy import read_batching
from quadriga.specs import TensorSpec
from quadriga.unserved_keys import UNSERVED
from quadriga.warm_up import Content, WarmUp, WarmUpInput
from quadriga_proto.model_config_pb2 import (
    DataType,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelVersionPolicy,
    ModelWarmup,
)
from quadriga_proto.model_config_pb2 import ModelConfig as ConfigMessage
from quadriga_proto.pool import POOL

TOML_FILE: Final = "model.toml"
PBTXT_FILE: Final = "config.pbtxt"
#: More is no configuration.
_MOST_BYTES: Final = 1_048_576
#: In one line of TOML: what a key's depth costs grows with its square, and no key of ours has more than three parts.
_MOST_DOTS: Final = 100

#: Put into `max_batch_size` before a file is read into the message: proto3 cannot tell a 0 that is written from none.
_NOT_GIVEN: Final = -(2**31)
_UNKNOWN_KEY: Final = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_BACKEND_OF_NAME: Final[dict[str, str]] = {
    **{name: name for name in BACKENDS},
    **{known.platform: known.backend for known in FORMATS.values()},
    **TRITON_NAMES,
}
_DEVICE_OF_KIND: Final[dict[int, DeviceKind]] = {
    ModelInstanceGroup.KIND_AUTO: "auto",
    ModelInstanceGroup.KIND_MODEL: "auto",
    ModelInstanceGroup.KIND_CPU: "cpu",
    ModelInstanceGroup.KIND_GPU: "gpu",
}


def load_model_config(directory: Path, name: str) -> ModelConfig:
    """The settings of the model `name`, whose folder is `directory`; the defaults where it holds no config.

    Raises:
        ConfigError: Both spellings are there, or the file cannot be read, or it says what cannot be; names the file,
            the key, what came and what was expected.
    """
    found = [path for path in (directory / TOML_FILE, directory / PBTXT_FILE) if path.exists()]
    if not found:
        return ModelConfig(name=name)
    if len(found) > 1:
        raise ConfigError(f"{directory}: both {TOML_FILE} and {PBTXT_FILE} are there; keep one of them")
    path = found[0]
    try:
        return _from_message(name, _read(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {one_line(str(error))}") from None


def parse_model_config(name: str, text: str) -> ModelConfig:
    """The settings of the model `name` from a JSON text, by the same rules as those of a file.

    Raises:
        ConfigError: It is not JSON, or it says what cannot be; names the key, what came and what was expected.
    """
    try:
        return _from_message(name, _read_json(text))
    except ConfigError as error:
        raise ConfigError(one_line(str(error))) from None


def _read_json(text: str) -> ConfigMessage:
    message = ConfigMessage(max_batch_size=_NOT_GIVEN)
    try:
        tables = json.loads(text, object_pairs_hook=_each_key_once)
        if not isinstance(tables, dict):
            raise ConfigError(f"is a JSON {type(tables).__name__}; expected an object")
        json.dumps(tables, ensure_ascii=False).encode()  # half a surrogate pair, which JSON can write, upsets protobuf
        json_format.ParseDict(_with_parameters(tables), message, descriptor_pool=POOL)
    except (ValueError, RecursionError) as error:  # of broken JSON, of half a character, of numbers without an end
        raise ConfigError(f"is not JSON: {error}") from None
    except json_format.ParseError as error:
        raise ConfigError(_explained(str(error))) from None
    return message


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ConfigError(f"key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return table


def _read(path: Path) -> ConfigMessage:
    """The message in a file, with `_NOT_GIVEN` where it gives no max_batch_size."""
    message = ConfigMessage(max_batch_size=_NOT_GIVEN)
    try:
        text = read_file(path, _MOST_BYTES).decode()
        if path.name == TOML_FILE:
            json_format.ParseDict(_with_parameters(_tables(text)), message, descriptor_pool=POOL)
        else:
            text_format.Parse(text, ConfigMessage(), descriptor_pool=POOL)  # refuses a key given twice; Merge does not
            text_format.Merge(text, message, descriptor_pool=POOL)
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except (json_format.ParseError, text_format.ParseError) as error:
        raise ConfigError(_explained(str(error))) from None
    except RecursionError:
        raise ConfigError("is nested too deeply; no configuration is") from None
    except ValueError as error:  # also of a number with thousands of digits
        raise ConfigError(f"is not {'TOML' if path.name == TOML_FILE else 'a text of a message'}: {error}") from None
    return message


def _tables(text: str) -> dict[str, Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MOST_DOTS:
            raise ConfigError(f"line {number} has more than {_MOST_DOTS} dots; no key is that deep")
    return tomllib.loads(text)


def _with_parameters(tables: dict[str, Any]) -> dict[str, Any]:
    """The tables of a text, with `parameters` of plain values, as in `threads = 2`, in the message's own form."""
    parameters = tables.get("parameters")
    if isinstance(parameters, dict):
        tables["parameters"] = {key: _parameter(key, value) for key, value in parameters.items()}
    return tables


def _parameter(key: str, value: object) -> object:
    match value:
        case bool():
            return {"string_value": str(value).lower()}
        case str() | int() | float():
            return {"string_value": str(value)}
        case dict():
            return value
    raise ConfigError(f"parameters.{key} is {value!r}; expected a text, a number, true or false")


def _explained(problem: str) -> str:
    """A parser's complaint on one line; about an unknown key with what to do instead, or with the known ones."""
    unknown = _UNKNOWN_KEY.search(problem)
    if unknown is None:
        return " ".join(problem.split())
    message, key = unknown.groups()
    place = message.removeprefix("inference.")
    if (why := UNSERVED.get((place, key))) is not None:
        return f"key {key!r} of {place} is not served, whatever its value: {why}"
    known = ", ".join(field.name for field in POOL.FindMessageTypeByName(message).fields)
    return f"unknown key {key!r}; {place} has {known}"


def _from_message(name: str, message: ConfigMessage) -> ModelConfig:
    if message.name not in ("", name):
        raise ConfigError(f"name is {message.name!r}; expected {name!r}, or none")
    parameters = {key: value.string_value for key, value in message.parameters.items()}
    threads = parameters.pop("threads", None)
    batch_timeout = parameters.pop("batch_timeout_seconds", None)
    load_timeout = parameters.pop("load_timeout_seconds", None)
    return ModelConfig(
        name=name,
        backend=_backend(message),
        file_name=message.default_model_filename or None,
        max_batch_size=None if message.max_batch_size == _NOT_GIVEN else message.max_batch_size,
        inputs=_tensors("input", message.input),
        outputs=_tensors("output", message.output),
        input_formats={tensor.name: _format(tensor) for tensor in message.input if tensor.format},
        batching=read_batching(message.dynamic_batching),
        instance_groups=tuple(map(_instance_group, message.instance_group)) or (InstanceGroup(),),
        threads=None if threads is None else _number("parameters.threads", threads),
        batch_timeout_seconds=_seconds("batch_timeout_seconds", batch_timeout, DEFAULT_BATCH_SECONDS),
        load_timeout_seconds=_seconds("load_timeout_seconds", load_timeout, DEFAULT_LOAD_SECONDS),
        parameters=parameters,
        label_files={tensor.name: tensor.label_filename for tensor in message.output if tensor.label_filename},
        versions=_version_policy(message.version_policy),
        warm_ups=tuple(_warm_up(warm_up, place) for place, warm_up in enumerate(message.model_warmup, 1)),
    )


def _backend(message: ConfigMessage) -> str | None:
    """The backend that `backend` and `platform` name, or None where neither is given."""
    named = {}
    for key, value in (("backend", message.backend), ("platform", message.platform)):
        if value and (found := _BACKEND_OF_NAME.get(value)) is not None:
            named[key] = found
        elif value and _CLASS.fullmatch(value):
            named[key] = value
        elif value:
            known = ", ".join(sorted(_BACKEND_OF_NAME))
            raise ConfigError(f"{key} is {value!r}; expected one of {known}, or a class as module:Class")
    if len(set(named.values())) > 1:
        raise ConfigError(f"backend {message.backend!r} and platform {message.platform!r} are different; keep one")
    return next(iter(named.values()), None)


def _tensors(key: str, declared: "Iterable[ModelInput] | Iterable[ModelOutput]") -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=tensor.name,
            datatype=_datatype(f"{key} {tensor.name!r}", tensor.data_type),
            shape=tuple(tensor.dims),
            optional=isinstance(tensor, ModelInput) and tensor.optional,
        )
        for tensor in declared
    )


def _datatype(tensor: str, data_type: int) -> str:
    if data_type == DataType.TYPE_INVALID or data_type not in DataType.values():
        came = f"data_type {data_type}" if data_type else "no data_type"
        raise ConfigError(f"{tensor} has {came}; expected one of {', '.join(DataType.keys()[1:])}")
    datatype = DataType.Name(data_type).removeprefix("TYPE_")
    return "BYTES" if datatype == "STRING" else datatype


def _format(tensor: ModelInput) -> str:
    if tensor.format not in ModelInput.Format.values():
        known = ", ".join(ModelInput.Format.keys())
        raise ConfigError(f"input {tensor.name!r} has format {tensor.format}; expected one of {known}")
    return ModelInput.Format.Name(tensor.format)


def _instance_group(group: ModelInstanceGroup) -> InstanceGroup:
    kind = _DEVICE_OF_KIND.get(group.kind)
    if kind is None:
        known = ", ".join(ModelInstanceGroup.Kind.keys())
        raise ConfigError(f"instance_group.kind is {group.kind}; expected one of {known}")
    return InstanceGroup(kind=kind, count=group.count or 1, gpus=tuple(group.gpus), name=group.name)


def _version_policy(policy: ModelVersionPolicy) -> VersionPolicy:
    match policy.WhichOneof("policy_choice"):
        case "latest":
            return VersionPolicy(count=policy.latest.num_versions or 1)
        case "all":
            return VersionPolicy(kind="all")
        case "specific":
            return VersionPolicy(kind="specific", versions=tuple(policy.specific.versions))
    return VersionPolicy()


def _warm_up(message: ModelWarmup, place: int) -> WarmUp:
    name = message.name or f"number {place}"
    try:
        inputs = {key: _warm_up_input(key, tensor) for key, tensor in sorted(message.inputs.items())}
        return WarmUp(name=name, batch_size=message.batch_size, inputs=inputs, count=message.count or 1)
    except ConfigError as error:
        raise ConfigError(f"model_warmup {name!r}: {error}") from None


def _warm_up_input(name: str, message: ModelWarmup.Input) -> WarmUpInput:
    contents: dict[str, Content] = {"zero_data": "zeros", "random_data": "random", "input_data_file": "file"}
    given = message.WhichOneof("input_data_type")
    if given is None:
        raise ConfigError(f"input {name!r} has no data; expected one of {', '.join(contents)}")
    datatype = _datatype(f"input {name!r}", message.data_type)
    try:
        return WarmUpInput(
            datatype=datatype, shape=tuple(message.dims), content=contents[given], file=message.input_data_file
        )
    except ConfigError as error:
        raise ConfigError(f"input {name!r}: {error}") from None


def _number(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{key} is {text!r}; expected a whole number") from None


def _seconds(parameter: str, text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"parameters.{parameter} is {text!r}; expected a number of seconds, or 0 for none") from None
