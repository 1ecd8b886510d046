"""From the arguments of `load_model` to the request that the server expects. Pure; runs in the user's process."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from quadriga_client.errors import InputError
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.conventions import LOAD_CONFIG, LOAD_FILE_PREFIX

#: A ModelConfig, as JSON or as what JSON is made of.
Config: TypeAlias = Mapping[str, Any] | str
#: Contents by "<version>/<name>".
Files: TypeAlias = Mapping[str, bytes]


def load_request(model: str, config: Config | None, files: Files | None) -> pb.RepositoryModelLoadRequest:
    """The request of a load.

    Raises:
        InputError: The configuration is no JSON, or a file is no bytes.
    """
    request = pb.RepositoryModelLoadRequest(model_name=model)
    if config is not None:
        try:
            text = config if isinstance(config, str) else json.dumps(dict(config))
        except (TypeError, ValueError) as error:
            raise InputError(f"config cannot be written as JSON: {error}") from error
        request.parameters[LOAD_CONFIG].string_param = text
    for path, content in (files or {}).items():
        if not isinstance(content, bytes):
            raise InputError(f"file {path!r} is {type(content).__name__}; expected its content as bytes")
        request.parameters[f"{LOAD_FILE_PREFIX}{path}"].bytes_param = content
    return request
