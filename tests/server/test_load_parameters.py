"""What a load and an unload may be given: every refusal names the parameter, and no path leads out of its folder."""

from pathlib import PurePosixPath

import pytest

from quadriga.errors import InvalidInput
from quadriga.load_parameters import check_model_name, check_unload_parameters, read_load_parameters
from quadriga_proto.inference_pb2 import ModelRepositoryParameter

CONFIG = ModelRepositoryParameter(string_param="{}")
FILE = ModelRepositoryParameter(bytes_param=b"content")


def test_nothing_given_is_the_models_own_folder() -> None:
    given = read_load_parameters("m", {})
    assert (given.config, dict(given.files)) == (None, {})


def test_files_of_folders_are_taken_with_their_paths() -> None:
    keys = ("file:1/model.savedmodel/saved_model.pb", "file:1/model.savedmodel/variables/variables.index", "file:2/x")
    given = read_load_parameters("m", {"config": CONFIG, **dict.fromkeys(keys, FILE)})
    assert given.config is not None
    assert given.files == {PurePosixPath(key.removeprefix("file:")): b"content" for key in keys}


@pytest.mark.parametrize(
    "key",
    [
        "file:",
        "file:model.onnx",
        "file:1",
        "file:1/",
        "file:/1/model.onnx",
        "file:1//model.onnx",
        "file:1//etc/passwd",
        "file:0/model.onnx",
        "file:01/model.onnx",
        "file:-1/model.onnx",
        "file:one/model.onnx",
        "file:٣/model.onnx",
        "file:../1/model.onnx",
        "file:1/../2/model.onnx",
        "file:1/..",
        "file:1/./model.onnx",
        "file:1/..\\model.onnx",
        "file:1/model\0.onnx",
        "file:1/" + "n" * 256,
        "file:1/" + "/".join(["n" * 100] * 20),
        "file:" + "9" * 30 + "/model.onnx",
    ],
)
def test_a_file_that_leads_elsewhere_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(InvalidInput, match="load parameter 'file:"):
        read_load_parameters("m", {"config": CONFIG, key: FILE})


def test_a_file_that_is_also_a_folder_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'file:1/a' is a file, and a folder of 'file:1/a/b/c'"):
        read_load_parameters("m", {"config": CONFIG, "file:1/a": FILE, "file:1/a/b/c": FILE})


def test_files_need_a_configuration() -> None:
    with pytest.raises(InvalidInput, match="without 'config'"):
        read_load_parameters("m", {"file:1/model.onnx": FILE})


@pytest.mark.parametrize(
    ("key", "parameter", "words"),
    [
        ("config", FILE, "'config' is bytes_param; expected string_param"),
        ("config", ModelRepositoryParameter(), "'config' is empty; expected string_param"),
        ("file:1/model.onnx", CONFIG, "'file:1/model.onnx' is string_param; expected bytes_param"),
        ("Config", CONFIG, "'Config' is unknown"),
        ("", CONFIG, "'' is unknown"),
    ],
)
def test_an_unknown_parameter_or_a_wrong_type_is_named(
    key: str, parameter: ModelRepositoryParameter, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_load_parameters("m", {key: parameter})


def test_a_request_names_no_class_to_import() -> None:
    known = ModelRepositoryParameter(string_param='{"backend": "onnxruntime"}')
    given = read_load_parameters("m", {"config": known})
    assert given.config is not None
    assert given.config.backend == "onnx"
    own = ModelRepositoryParameter(string_param='{"backend": "my_package.mine:Backend"}')
    with pytest.raises(InvalidInput, match=r"'my_package\.mine:Backend'; expected one of tensorflow"):
        read_load_parameters("m", {"config": own})


def test_a_request_names_no_folder_to_write_to() -> None:
    config = '{"parameters": {"tensorrt_cache": {"string_value": "/anywhere"}}}'
    with pytest.raises(InvalidInput, match="tensorrt_cache names a folder"):
        read_load_parameters("m", {"config": ModelRepositoryParameter(string_param=config)})


def test_an_unload_takes_one_parameter() -> None:
    check_unload_parameters({})
    check_unload_parameters({"unload_dependents": ModelRepositoryParameter(bool_param=True)})
    with pytest.raises(InvalidInput, match="'config' is unknown"):
        check_unload_parameters({"config": CONFIG})
    with pytest.raises(InvalidInput, match="'unload_dependents' is string_param; expected bool_param"):
        check_unload_parameters({"unload_dependents": CONFIG})


@pytest.mark.parametrize("name", ["m", "a..b", "..a", "nämlich", "with space", "n" * 255])
def test_a_folders_name_can_be_a_models(name: str) -> None:
    check_model_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "/m", "a/b", "../m", "a\\b", "m\n", "m\0", "n" * 256, "ä" * 128])
def test_what_is_no_folders_name_is_not_a_models(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_model_name(name)
