"""A configuration as a load has it, in JSON: read and refused as one in a file is."""

from pathlib import Path

import pytest

from quadriga.config_file import TOML_FILE, load_model_config, parse_model_config
from quadriga.errors import ConfigError
from quadriga.model_config import ModelConfig


def test_a_json_text_says_what_a_file_says(tmp_path: Path) -> None:
    toml = (
        'max_batch_size = 4\n[parameters]\nthreads = 2\ncolour = "red"\n[[input]]\nname = "x"\ndata_type = "TYPE_FP32"'
    )
    (tmp_path / TOML_FILE).write_text(toml)
    text = """{
        "name": "m", "max_batch_size": 4, "input": [{"name": "x", "data_type": "TYPE_FP32"}],
        "parameters": {"threads": {"string_value": "2"}, "colour": "red"}
    }"""
    assert parse_model_config("m", text) == load_model_config(tmp_path, "m")
    assert parse_model_config("m", "{}") == ModelConfig(name="m")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "list; expected an object"),
        ('{"max_batchsize": 1}', "unknown key 'max_batchsize'"),
        ('{"name": "other"}', "name is 'other'; expected 'm'"),
        ('{"max_batch_size": 1, "max_batch_size": 2}', "'max_batch_size' is given twice"),
        ('{"max_batch_size": "many"}', "max_batch_size"),
        ('{"max_batch_size": -1}', "max_batch_size is -1"),
        ('{"input": [3]}', "input"),
        ('{"parameters": {"threads": []}}', "parameters.threads"),
        ('{"name": "\\ud800"}', "is not JSON"),
        ('{"version_policy": "\\ud800"}', "is not JSON"),
        ('{"max_batch_size": ' + "9" * 5000 + "}", "is not JSON"),
    ],
)
def test_a_json_text_that_cannot_be_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_model_config("m", text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
