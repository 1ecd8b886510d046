"""A model's settings on disk, in both spellings."""

from pathlib import Path

import pytest

from quadriga.config_file import PBTXT_FILE, TOML_FILE, load_model_config
from quadriga.errors import ConfigError
from quadriga.model_config import InstanceGroup, ModelConfig, VersionPolicy
from quadriga.queue_policy import DEFAULT_MAX_QUEUE_SIZE, DynamicBatching, QueuePolicy
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.warm_up import WarmUp, WarmUpInput

TOML = """
name = "m"
backend = "pytorch"
max_batch_size = 8
default_model_filename = "net.pt"

[parameters]
threads = 2
batch_timeout_seconds = 2.5
load_timeout_seconds = 0
"keras_backend" = "torch"
fast = true
ratio = 0.5
wrapped = {string_value = "w"}

[[input]]
name = "image"
data_type = "TYPE_FP32"
format = "FORMAT_NCHW"
dims = [3, -1, -1]

[[output]]
name = "scores"
data_type = "TYPE_STRING"
dims = [10]
label_filename = "names.txt"

[dynamic_batching]
preferred_batch_size = [4, 8]
max_queue_delay_microseconds = 100
preserve_ordering = true
priority_levels = 3
default_priority_level = 2
[dynamic_batching.default_queue_policy]
max_queue_size = 7
default_timeout_microseconds = 5000
allow_timeout_override = true
[dynamic_batching.priority_queue_policy.1]
timeout_action = "DELAY"
default_timeout_microseconds = 300

[[model_warmup]]
name = "sample"
batch_size = 2
count = 3
[model_warmup.inputs.image]
data_type = "TYPE_FP32"
dims = [3, 8, 8]
random_data = true
[model_warmup.inputs.mask]
data_type = "TYPE_BOOL"
zero_data = true
[model_warmup.inputs.text]
data_type = "TYPE_STRING"
dims = [2]
input_data_file = "texts"

[[instance_group]]
name = "processors"
kind = "KIND_CPU"
count = 2
[[instance_group]]
kind = "KIND_GPU"
gpus = [0, 1]

[version_policy.specific]
versions = [1, 3]
"""
PBTXT = """
# As a Triton repository has it.
name: "m"
platform: "pytorch_libtorch"
max_batch_size: 8
default_model_filename: "net.pt"
input [ { name: "image" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, -1, -1 ] } ]
output [ { name: "scores", data_type: TYPE_STRING, dims: [ 10 ], label_filename: "names.txt" } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  preserve_ordering: true
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy { max_queue_size: 7 default_timeout_microseconds: 5000 allow_timeout_override: true }
  priority_queue_policy { key: 1 value: { timeout_action: DELAY default_timeout_microseconds: 300 } }
}
model_warmup [ {
  name: "sample" batch_size: 2 count: 3
  inputs { key: "image" value: { data_type: TYPE_FP32 dims: [ 3, 8, 8 ] random_data: true } }
  inputs { key: "mask" value: { data_type: TYPE_BOOL zero_data: true } }
  inputs { key: "text" value: { data_type: TYPE_STRING dims: [ 2 ] input_data_file: "texts" } }
} ]
instance_group [ { name: "processors" kind: KIND_CPU count: 2 }, { kind: KIND_GPU gpus: [ 0, 1 ] } ]
version_policy { specific { versions: [ 1, 3 ] } }
parameters { key: "threads" value: { string_value: "2" } }
parameters { key: "batch_timeout_seconds" value: { string_value: "2.5" } }
parameters { key: "load_timeout_seconds" value: { string_value: "0" } }
parameters { key: "keras_backend" value: { string_value: "torch" } }
parameters { key: "fast" value: { string_value: "true" } }
parameters { key: "ratio" value: { string_value: "0.5" } }
parameters { key: "wrapped" value: { string_value: "w" } }
"""


def load(directory: Path, text: str, file_name: str = TOML_FILE) -> ModelConfig:
    (directory / file_name).write_text(text)
    return load_model_config(directory, "m")


def refusal(directory: Path, text: str, file_name: str = TOML_FILE) -> str:
    with pytest.raises(ConfigError) as caught:
        load(directory, text, file_name)
    message = str(caught.value)
    assert message.startswith(f"{directory / file_name}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("file_name", "text"), [(TOML_FILE, TOML), (PBTXT_FILE, PBTXT)])
def test_both_spellings_say_the_same(tmp_path: Path, file_name: str, text: str) -> None:
    assert load(tmp_path, text, file_name) == ModelConfig(
        name="m",
        backend="torchscript",
        file_name="net.pt",
        max_batch_size=8,
        inputs=(TensorSpec(name="image", datatype="FP32", shape=(3, -1, -1)),),
        outputs=(TensorSpec(name="scores", datatype="BYTES", shape=(10,)),),
        input_formats={"image": "FORMAT_NCHW"},
        batching=DynamicBatching(
            preferred_batch_sizes=(4, 8),
            max_queue_delay_us=100,
            preserve_ordering=True,
            priority_levels=3,
            default_priority_level=2,
            queue=QueuePolicy(max_queue_size=7, default_timeout_us=5000, allow_timeout_override=True),
            level_queues={1: QueuePolicy(timeout_action="delay", default_timeout_us=300)},
        ),
        instance_groups=(
            InstanceGroup(kind="cpu", count=2, name="processors"),
            InstanceGroup(kind="gpu", gpus=(0, 1)),
        ),
        threads=2,
        batch_timeout_seconds=2.5,
        load_timeout_seconds=0,
        parameters={"keras_backend": "torch", "fast": "true", "ratio": "0.5", "wrapped": "w"},
        label_files={"scores": "names.txt"},
        versions=VersionPolicy(kind="specific", versions=(1, 3)),
        warm_ups=(
            WarmUp(
                name="sample",
                batch_size=2,
                inputs={
                    "image": WarmUpInput(datatype="FP32", shape=(3, 8, 8), content="random"),
                    "mask": WarmUpInput(datatype="BOOL", shape=(), content="zeros"),
                    "text": WarmUpInput(datatype="BYTES", shape=(2,), content="file", file="texts"),
                },
                count=3,
            ),
        ),
    )


def test_no_config_is_the_defaults(tmp_path: Path) -> None:
    assert load_model_config(tmp_path, "m") == ModelConfig(name="m")


@pytest.mark.parametrize("file_name", [TOML_FILE, PBTXT_FILE])
def test_an_empty_config_is_the_defaults(tmp_path: Path, file_name: str) -> None:
    assert load(tmp_path, "", file_name) == ModelConfig(name="m")


def test_both_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / TOML_FILE).touch()
    (tmp_path / PBTXT_FILE).touch()
    with pytest.raises(ConfigError, match=f"{tmp_path}: both {TOML_FILE} and {PBTXT_FILE} are there"):
        load_model_config(tmp_path, "m")


@pytest.mark.parametrize(
    ("file_name", "text", "expected"),
    [
        (TOML_FILE, "max_batch_size = 0", 0),
        (TOML_FILE, "max_batch_size = 4", 4),
        (TOML_FILE, "# max_batch_size = 4", None),
        (TOML_FILE, "[parameters]\nmax_batch_size = 4", None),
        (PBTXT_FILE, "max_batch_size: 0", 0),
        (PBTXT_FILE, "max_batch_size : 0x0 # none", 0),
        (PBTXT_FILE, "max_batch_size: 4", 4),
        (PBTXT_FILE, "# max_batch_size: 0", None),
        (PBTXT_FILE, 'parameters { key: "max_batch_size: 0" value { string_value: "max_batch_size: 0" } }', None),
    ],
)
def test_a_written_zero_is_told_from_none(tmp_path: Path, file_name: str, text: str, expected: int | None) -> None:
    assert load(tmp_path, text, file_name).max_batch_size == expected


@pytest.mark.parametrize(
    ("line", "backend"),
    [
        ('backend: "onnxruntime"', "onnx"),
        ('platform: "onnxruntime_onnx"', "onnx"),
        ('platform: "tensorflow_savedmodel"', "tensorflow"),
        ('backend: "tensorflow" platform: "tensorflow_savedmodel"', "tensorflow"),
        ('platform: "keras_v3"', "keras"),
        ('platform: "quadriga_fake"', "fake"),
        ('backend: "torchscript"', "torchscript"),
        ('backend: "my_pkg.mod:MyBackend"', "my_pkg.mod:MyBackend"),
        ("", None),
    ],
)
def test_backend_names(tmp_path: Path, line: str, backend: str | None) -> None:
    assert load(tmp_path, line, PBTXT_FILE).backend == backend


def test_kind_model_and_zero_counts_are_the_defaults(tmp_path: Path) -> None:
    text = (
        "instance_group { kind: KIND_MODEL } version_policy { latest {} } "
        "dynamic_batching { default_queue_policy { max_queue_size: 0 } }"
    )
    config = load(tmp_path, text, PBTXT_FILE)
    assert config.instance_groups == (InstanceGroup(),)
    assert config.versions == VersionPolicy()
    assert config.batching.queue.max_queue_size == DEFAULT_MAX_QUEUE_SIZE


def test_what_is_shown_reads_back_the_same(tmp_path: Path) -> None:
    config = load(tmp_path, PBTXT, PBTXT_FILE)
    spec = ModelSpec(inputs=config.inputs, outputs=config.outputs, batches=True)
    shown = str(config.to_message(spec, "pytorch_torchscript"))
    assert load(tmp_path, shown, PBTXT_FILE) == config


@pytest.mark.parametrize(
    ("file_name", "text", "key", "known"),
    [
        (TOML_FILE, "max_bach_size = 4", "'max_bach_size'", "max_batch_size"),
        (TOML_FILE, "[dynamic_batching]\nmax_delay = 4", "'max_delay'", "max_queue_delay"),
        (TOML_FILE, "[[input]]\nname = 'x'\nshape = [3]", "'shape'", "dims"),
        (PBTXT_FILE, "max_bach_size: 4", "'max_bach_size'", "max_batch_size"),
        (PBTXT_FILE, "dynamic_batching { max_delay: 4 }", "'max_delay'", "max_queue_delay"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(
    tmp_path: Path, file_name: str, text: str, key: str, known: str
) -> None:
    message = refusal(tmp_path, text, file_name)
    assert f"unknown key {key}" in message
    assert known in message


@pytest.mark.parametrize(
    ("key", "toml", "pbtxt", "instead"),
    [
        (
            "sequence_batching",
            "sequence_batching = {max_sequence_idle_microseconds = 5}",
            "sequence_batching { max_sequence_idle_microseconds: 5 }",
            "sequences are not served",
        ),
        (
            "ensemble_scheduling",
            "[[ensemble_scheduling.step]]\nmodel_name = 'a'",
            'ensemble_scheduling { step [ { model_name: "a" } ] }',
            "chain them in the client",
        ),
        ("response_cache", "response_cache = {enable = false}", "response_cache { enable: false }", "leave it out"),
        (
            "optimization",
            "optimization = {cuda = {graphs = true}}",
            "optimization { cuda { graphs: true } }",
            "leave it out",
        ),
        (
            "model_transaction_policy",
            "model_transaction_policy = {decoupled = false}",
            "model_transaction_policy { decoupled: false }",
            "one response",
        ),
        (
            "rate_limiter",
            "[[instance_group]]\nrate_limiter = {priority = 1}",
            "instance_group { rate_limiter { priority: 1 } }",
            "leave it out",
        ),
        (
            "allow_ragged_batch",
            "[[input]]\nname = 'x'\nallow_ragged_batch = false",
            'input { name: "x" allow_ragged_batch: false }',
            "unequal shapes",
        ),
    ],
)
def test_what_triton_has_and_is_not_served_is_refused_with_what_to_do(
    tmp_path: Path, key: str, toml: str, pbtxt: str, instead: str
) -> None:
    for file_name, text in ((TOML_FILE, toml), (PBTXT_FILE, pbtxt)):
        message = refusal(tmp_path, text, file_name)
        assert f"key {key!r} of Model" in message
        assert "is not served, whatever its value" in message
        assert instead in message
        (tmp_path / file_name).unlink()


@pytest.mark.parametrize(
    ("file_name", "text", "fragments"),
    [
        (TOML_FILE, 'name = "other"', ["name is 'other'", "'m'"]),
        (TOML_FILE, "name =", ["is not TOML"]),
        (TOML_FILE, 'max_batch_size = "many"', ["max_batch_size", "many"]),
        (TOML_FILE, "max_batch_size = 8.5", ["max_batch_size", "8.5"]),
        (TOML_FILE, "max_batch_size = -3", ["max_batch_size is -3"]),
        (TOML_FILE, "max_batch_size = 1_000_000", ["max_batch_size is 1000000; expected 0 to 65536"]),
        (TOML_FILE, "max_batch_size = 99999999999", ["max_batch_size", "99999999999"]),
        (TOML_FILE, "[dynamic_batching]\nmax_queue_delay_microseconds = -1", ["max_queue_delay_microseconds", "-1"]),
        (
            TOML_FILE,
            "max_batch_size = 4\n[dynamic_batching]\npreferred_batch_size = [8]",
            ["preferred_batch_size has 8; expected sizes up to max_batch_size, 4"],
        ),
        (
            TOML_FILE,
            "[dynamic_batching]\npriority_levels = 2",
            ["default_priority_level is 0; expected 1 to 2"],
        ),
        (
            TOML_FILE,
            "[dynamic_batching]\npriority_levels = 2\ndefault_priority_level = 1\n"
            "[dynamic_batching.priority_queue_policy.3]\nmax_queue_size = 4",
            ["a key of priority_queue_policy is 3; expected 1 to 2"],
        ),
        (
            PBTXT_FILE,
            "dynamic_batching { priority_levels: 2 default_priority_level: 1 "
            "priority_queue_policy { key: 2 value: { max_queue_size: 4000000 } } }",
            ["priority_queue_policy 2: max_queue_size is 4000000; expected 1 to"],
        ),
        (
            TOML_FILE,
            "[dynamic_batching.default_queue_policy]\ntimeout_action = 7",
            ["default_queue_policy: timeout_action is 7; expected one of REJECT, DELAY"],
        ),
        (TOML_FILE, "[dynamic_batching.default_queue_policy]\ntimeout_action = 'DROP'", ["DROP"]),
        (
            PBTXT_FILE,
            'model_warmup { name: "w" inputs { key: "x" value: { data_type: TYPE_FP32 zero_data: true } } }',
            ["model_warmup 'w': batch_size is 0; expected 1 to"],
        ),
        (
            PBTXT_FILE,
            'model_warmup { batch_size: 1 inputs { key: "x" value: { data_type: TYPE_FP32 } } }',
            ["model_warmup 'number 1': input 'x' has no data; expected one of zero_data, random_data, input_data_file"],
        ),
        (
            PBTXT_FILE,
            'model_warmup { name: "w" batch_size: 1 inputs { key: "x" value: { zero_data: true } } }',
            ["model_warmup 'w': input 'x' has no data_type"],
        ),
        (
            PBTXT_FILE,
            'model_warmup { name: "w" batch_size: 1 inputs { key: "x" '
            'value: { data_type: TYPE_FP32 input_data_file: "../1/model.onnx" } } }',
            ["model_warmup 'w': input 'x': input_data_file is '../1/model.onnx'; expected a path inside"],
        ),
        (TOML_FILE, "parameters = 3", ["parameters", "3"]),
        (TOML_FILE, "[parameters]\nthreads = 'two'", ["parameters.threads is 'two'; expected a whole number"]),
        (TOML_FILE, "[parameters]\nthreads = -1", ["parameters.threads is -1"]),
        (TOML_FILE, "[parameters]\nbatch_timeout_seconds = 'long'", ["batch_timeout_seconds is 'long'", "of seconds"]),
        (
            PBTXT_FILE,
            'parameters { key: "load_timeout_seconds" value: { string_value: "90000" } }',
            ["parameters.load_timeout_seconds is 90000", "0 to 86400"],
        ),
        (TOML_FILE, "[parameters]\nsizes = [1, 2]", ["parameters.sizes is [1, 2]"]),
        (TOML_FILE, "[input]\nname = 'x'", ["input"]),
        (TOML_FILE, "input = [3]", ["input"]),
        (TOML_FILE, "[[input]]\nname = 'x'\ndata_type = 'FP32'", ["FP32"]),
        (TOML_FILE, "[[input]]\nname = 'x'\ndata_type = 99", ["input 'x' has data_type 99; expected one of TYPE_BOOL"]),
        (TOML_FILE, "[[input]]\nname = 'x'\ndims = [1]", ["input 'x' has no data_type"]),
        (TOML_FILE, "[[input]]\nname='x'\ndata_type='TYPE_FP32'\nformat=9", ["input 'x' has format 9", "FORMAT_NHWC"]),
        (TOML_FILE, "[[input]]\nname='x'\ndata_type='TYPE_FP32'\ndims=[0]", ["input 'x' has dims [0]"]),
        (TOML_FILE, "[[instance_group]]\nkind = 12", ["instance_group.kind is 12", "KIND_GPU"]),
        (TOML_FILE, "[[instance_group]]\ncount = -2", ["instance_group.count is -2"]),
        (TOML_FILE, "[version_policy.specific]\nversions = []", ["version_policy.specific.versions is []"]),
        (TOML_FILE, "[version_policy]\nall = {}\nlatest = {}", ["policy_choice"]),
        (TOML_FILE, "backend = 'caffe'", ["backend is 'caffe'", "onnxruntime", "torchscript", "module:Class"]),
        (TOML_FILE, "backend = 'os:'", ["backend is 'os:'"]),
        (TOML_FILE, "backend = 'onnx'\nplatform = 'keras_v3'", ["'onnx'", "'keras_v3'", "keep one"]),
        (TOML_FILE, "default_model_filename = '../../secret.onnx'", ["default_model_filename is '../../secret.onnx'"]),
        (PBTXT_FILE, "name: ", ["1:7"]),
        (PBTXT_FILE, "max_batch_size: 4 max_batch_size: 8", ["max_batch_size"]),
        (PBTXT_FILE, "max_batch_size: -4", ["max_batch_size is -4"]),
        (PBTXT_FILE, "input { data_type: TYPE_FLOAT }", ["TYPE_FLOAT"]),
        (
            PBTXT_FILE,
            'output { name: "s" data_type: TYPE_FP32 label_filename: "/etc/x" }',
            ["label_filename is '/etc/x'"],
        ),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, file_name: str, text: str, fragments: list[str]) -> None:
    message = refusal(tmp_path, text, file_name)
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize("file_name", [TOML_FILE, PBTXT_FILE])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, file_name: str) -> None:
    (tmp_path / file_name).write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match=f"{tmp_path / file_name}: is not UTF-8 text"):
        load_model_config(tmp_path, "m")


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / TOML_FILE).mkdir()
    with pytest.raises(ConfigError, match=f"{tmp_path / TOML_FILE}: is a folder; expected a file"):
        load_model_config(tmp_path, "m")
