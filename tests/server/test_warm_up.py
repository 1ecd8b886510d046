"""The warm-ups of a configuration as values: which ones can be."""

from typing import Any

import pytest

from quadriga.errors import ConfigError
from quadriga.warm_up import WarmUp, WarmUpInput


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (3, -1)}, "dims is [3, -1]; expected sizes from 1, and none open"),
        ({"content": "ones"}, "content is 'ones'; expected one of zeros, random, file"),
        ({"content": "file"}, "input_data_file is ''; expected a path inside the model's folder 'warmup'"),
        ({"content": "file", "file": "../1/model.onnx"}, "input_data_file is '../1/model.onnx'"),
        ({"content": "file", "file": "/etc/passwd"}, "input_data_file is '/etc/passwd'"),
    ],
)
def test_bad_inputs_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WarmUpInput(**{"datatype": "FP32", "shape": (3,), "content": "zeros", **settings})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected 1 to"),
        ({"count": 0}, "count is 0; expected 1 to"),
    ],
)
def test_bad_numbers_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WarmUp(**{"name": "w", "batch_size": 1, "inputs": {}, **settings})
    assert message in str(caught.value)
