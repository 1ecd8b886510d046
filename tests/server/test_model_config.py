"""A model's settings as values: their limits, what the scheduler makes of them, and what the ModelConfig rpc shows."""

from typing import Any

import pytest

from quadriga.errors import ConfigError
from quadriga.model_config import (
    DEFAULT_MAX_BATCH_SIZE,
    SMALL_MODEL_BYTES,
    InstanceGroup,
    ModelConfig,
    VersionPolicy,
    default_threads,
)
from quadriga.queue_policy import DEFAULT_MAX_QUEUE_SIZE, BatchPolicy, DynamicBatching, QueuePolicy
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.warm_up import WarmUp, WarmUpInput

IMAGE = TensorSpec(name="image", datatype="FP32", shape=(32, 32, 3))
SCORES = TensorSpec(name="scores", datatype="FP32", shape=(10,))
BATCHING = ModelSpec(inputs=(IMAGE,), outputs=(SCORES,), batches=True)
NOT_BATCHING = ModelSpec(inputs=(IMAGE,), outputs=(SCORES,), batches=False)


class TestModelConfig:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"max_batch_size": -1}, "max_batch_size is -1; expected 0 to 65536"),
            ({"threads": 0}, "parameters.threads is 0; expected 1 to 1024"),
            ({"batch_timeout_seconds": -0.5}, "parameters.batch_timeout_seconds is -0.5; expected 0 to 86400"),
            ({"batch_timeout_seconds": float("nan")}, "parameters.batch_timeout_seconds is nan"),
            ({"load_timeout_seconds": float("inf")}, "parameters.load_timeout_seconds is inf; expected 0 to 86400"),
            ({"instance_groups": ()}, "instance_group is empty"),
            ({"file_name": "../other/model.onnx"}, "default_model_filename is '../other/model.onnx'"),
            ({"file_name": "/etc/passwd"}, "default_model_filename is '/etc/passwd'"),
            ({"file_name": "."}, "default_model_filename is '.'"),
            ({"label_files": {"scores": "a/../../labels.txt"}}, "label_filename is 'a/../../labels.txt'"),
            ({"inputs": (IMAGE, IMAGE)}, "input 'image' is declared twice"),
            ({"outputs": (TensorSpec(name="", datatype="FP32", shape=(1,)),)}, "output has no name"),
            ({"inputs": (TensorSpec(name="x", datatype="FP32", shape=(0, 3)),)}, "input 'x' has dims [0, 3]"),
            ({"inputs": (TensorSpec(name="x", datatype="FP32", shape=(-2,)),)}, "input 'x' has dims [-2]"),
        ],
    )
    def test_bad_values_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            ModelConfig(name="m", **settings)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"kind": "tpu"}, "instance_group.kind is 'tpu'"),
            ({"count": 0}, "instance_group.count is 0; expected 1 to 256"),
            ({"count": 100_000}, "instance_group.count is 100000"),
            ({"gpus": (-1,)}, "instance_group.gpus is -1"),
            ({"gpus": (1, 1)}, "instance_group.gpus is [1, 1]; expected each GPU once"),
            ({"kind": "cpu", "gpus": (0,)}, "in a group of kind KIND_CPU"),
        ],
    )
    def test_bad_instance_groups_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            InstanceGroup(**settings)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("size", "message"), [(4, "batch_size is 5; expected 1 to max_batch_size, 4"), (0, "the model does not batch")]
    )
    def test_more_rows_than_the_model_takes_are_refused(self, size: int, message: str) -> None:
        warm_up = WarmUp(name="large", batch_size=5, inputs={})
        with pytest.raises(ConfigError, match=f"model_warmup 'large': .*{message}"):
            ModelConfig(name="m", max_batch_size=size, warm_ups=(warm_up,))


class TestBatchPolicy:
    def test_the_file_decides_where_the_config_is_silent(self) -> None:
        config = ModelConfig(name="m", batching=DynamicBatching(max_queue_delay_us=100))
        assert config.batch_policy(BATCHING) == BatchPolicy(
            max_batch_size=DEFAULT_MAX_BATCH_SIZE, max_queue_delay_us=100
        )
        assert config.batch_policy(NOT_BATCHING) == BatchPolicy(max_batch_size=0, max_queue_delay_us=0)
        assert config.batches is None

    def test_the_config_sets_everything(self) -> None:
        settings: dict[str, Any] = {
            "preferred_batch_sizes": (4, 8),
            "max_queue_delay_us": 200,
            "preserve_ordering": True,
            "priority_levels": 3,
            "default_priority_level": 2,
            "queue": QueuePolicy(max_queue_size=5, default_timeout_us=1000),
            "level_queues": {1: QueuePolicy(timeout_action="delay")},
        }
        config = ModelConfig(name="m", max_batch_size=8, batching=DynamicBatching(**settings))
        assert config.batch_policy(BATCHING) == BatchPolicy(max_batch_size=8, **settings)
        assert config.batches is True

    def test_a_preferred_size_above_the_largest_batch_is_refused(self) -> None:
        batching = DynamicBatching(preferred_batch_sizes=(4, 17))
        with pytest.raises(ConfigError, match="preferred_batch_size has 17; expected sizes up to max_batch_size, 8"):
            ModelConfig(name="m", max_batch_size=8, batching=batching)
        silent = ModelConfig(name="m", batching=batching)
        with pytest.raises(ConfigError, match=f"17; expected sizes up to max_batch_size, {DEFAULT_MAX_BATCH_SIZE}"):
            silent.batch_policy(BATCHING)
        with pytest.raises(ConfigError, match="has 4; expected none: the model does not batch"):
            silent.batch_policy(NOT_BATCHING)

    def test_zero_says_that_the_model_does_not_batch(self) -> None:
        config = ModelConfig(name="m", max_batch_size=0)
        assert config.batches is False
        assert config.batch_policy(NOT_BATCHING).max_batch_size == 0

    @pytest.mark.parametrize(("size", "spec", "found"), [(8, NOT_BATCHING, "has no"), (0, BATCHING, "has")])
    def test_a_contradiction_of_the_file_is_refused(self, size: int, spec: ModelSpec, found: str) -> None:
        with pytest.raises(
            ConfigError, match=f"max_batch_size is {size}, but the model of 'm' {found} batch dimension"
        ):
            ModelConfig(name="m", max_batch_size=size).batch_policy(spec)


class TestVersionPolicy:
    def test_the_latest_is_the_highest_number(self) -> None:
        assert VersionPolicy().choose([2, 10, 9]) == (10,)

    def test_latest_n_takes_what_is_there(self) -> None:
        assert VersionPolicy(count=2).choose([3, 1, 2]) == (2, 3)
        assert VersionPolicy(count=5).choose([3, 1]) == (1, 3)

    def test_all(self) -> None:
        assert VersionPolicy(kind="all").choose([10, 2]) == (2, 10)

    def test_specific_ones_are_named_whether_there_or_not(self) -> None:
        assert VersionPolicy(kind="specific", versions=(7, 1, 7)).choose([1, 2]) == (1, 7)

    @pytest.mark.parametrize(
        "settings",
        [
            {"kind": "newest"},
            {"count": 0},
            {"kind": "specific"},
            {"kind": "specific", "versions": (0,)},
            {"kind": "all", "versions": (1,)},
        ],
    )
    def test_bad_policies_are_refused(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="version_policy"):
            VersionPolicy(**settings)


class TestToMessage:
    def test_the_loaded_model_is_shown_with_its_defaults(self) -> None:
        message = ModelConfig(name="m", backend="onnx").to_message(BATCHING, "onnx_onnxv1")
        assert (message.name, message.platform, message.backend) == ("m", "onnx_onnxv1", "onnx")
        assert message.max_batch_size == DEFAULT_MAX_BATCH_SIZE
        assert [(i.name, i.data_type, list(i.dims)) for i in message.input] == [("image", 11, [32, 32, 3])]
        assert [(o.name, o.data_type, list(o.dims)) for o in message.output] == [("scores", 11, [10])]
        assert message.version_policy.latest.num_versions == 1
        assert message.dynamic_batching.default_queue_policy.max_queue_size == DEFAULT_MAX_QUEUE_SIZE
        assert [(group.kind, group.count) for group in message.instance_group] == [(0, 1)]

    def test_everything_that_was_set_is_shown(self) -> None:
        config = ModelConfig(
            name="m",
            file_name="weights.onnx",
            max_batch_size=4,
            input_formats={"image": "FORMAT_NHWC"},
            batching=DynamicBatching(
                preferred_batch_sizes=(2, 4),
                max_queue_delay_us=10,
                preserve_ordering=True,
                priority_levels=2,
                default_priority_level=2,
                queue=QueuePolicy(default_timeout_us=20, allow_timeout_override=True),
                level_queues={1: QueuePolicy(timeout_action="delay", default_timeout_us=5, max_queue_size=9)},
            ),
            instance_groups=(InstanceGroup(kind="gpu", count=2, gpus=(0, 3), name="cards"),),
            threads=3,
            batch_timeout_seconds=2.5,
            parameters={"keras_backend": "torch"},
            label_files={"scores": "names.txt"},
            versions=VersionPolicy(kind="specific", versions=(1, 2)),
            warm_ups=(
                WarmUp(
                    name="first",
                    batch_size=2,
                    inputs={
                        "image": WarmUpInput(datatype="FP32", shape=(32, 32, 3), content="random"),
                        "name": WarmUpInput(datatype="BYTES", shape=(1,), content="file", file="names"),
                        "mask": WarmUpInput(datatype="BOOL", shape=(), content="zeros"),
                    },
                    count=3,
                ),
            ),
        )
        message = config.to_message(BATCHING, "onnx_onnxv1")
        assert message.default_model_filename == "weights.onnx"
        assert message.max_batch_size == 4
        assert message.input[0].format == 1
        assert message.output[0].label_filename == "names.txt"
        batching = message.dynamic_batching
        assert list(batching.preferred_batch_size) == [2, 4]
        assert batching.max_queue_delay_microseconds == 10
        assert batching.preserve_ordering
        assert (batching.priority_levels, batching.default_priority_level) == (2, 2)
        assert batching.default_queue_policy.default_timeout_microseconds == 20
        assert batching.default_queue_policy.allow_timeout_override
        (first,) = batching.priority_queue_policy.values()
        assert (first.timeout_action, first.default_timeout_microseconds, first.max_queue_size) == (1, 5, 9)
        (group,) = message.instance_group
        assert (group.name, group.kind, group.count, list(group.gpus)) == ("cards", 1, 2, [0, 3])
        (warm_up,) = message.model_warmup
        assert (warm_up.name, warm_up.batch_size, warm_up.count) == ("first", 2, 3)
        assert {name: (i.data_type, list(i.dims)) for name, i in warm_up.inputs.items()} == {
            "image": (11, [32, 32, 3]),
            "name": (13, [1]),
            "mask": (1, []),
        }
        assert warm_up.inputs["image"].random_data
        assert warm_up.inputs["mask"].zero_data
        assert warm_up.inputs["name"].input_data_file == "names"
        assert {key: value.string_value for key, value in message.parameters.items()} == {
            "threads": "3",
            "keras_backend": "torch",
            "batch_timeout_seconds": "2.5",
            "load_timeout_seconds": "600",
        }
        assert list(message.version_policy.specific.versions) == [1, 2]

    def test_a_model_that_is_not_loaded_shows_what_it_declares(self) -> None:
        names = TensorSpec(name="names", datatype="BYTES", shape=(-1,))
        config = ModelConfig(
            name="m", max_batch_size=2, inputs=(names,), outputs=(SCORES,), versions=VersionPolicy(kind="all")
        )
        open_size = ModelConfig(name="m", batching=DynamicBatching(preferred_batch_sizes=(4,), max_queue_delay_us=7))
        shown = open_size.to_message(None, "").dynamic_batching
        assert (list(shown.preferred_batch_size), shown.max_queue_delay_microseconds) == ([4], 7)
        message = config.to_message(None, "")
        assert message.max_batch_size == 2
        assert [(i.name, i.data_type, list(i.dims)) for i in message.input] == [("names", 13, [-1])]
        assert message.version_policy.WhichOneof("policy_choice") == "all"
        assert ModelConfig(name="m").to_message(None, "").max_batch_size == 0

    def test_every_datatype_has_its_number(self) -> None:
        datatypes = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"]
        datatypes += ["FP16", "FP32", "FP64", "BYTES", "BF16"]
        tensors = tuple(TensorSpec(name=datatype, datatype=datatype, shape=(1,)) for datatype in datatypes)
        spec = ModelSpec(inputs=tensors, outputs=(), batches=False)
        message = ModelConfig(name="m").to_message(spec, "")
        assert [tensor.data_type for tensor in message.input] == list(range(1, 15))


@pytest.mark.parametrize(
    ("instances", "cores", "small", "large"),
    [(1, 2, 1, 2), (1, 16, 8, 16), (4, 16, 2, 4), (1, 1, 1, 1), (64, 2, 1, 1), (3, 16, 2, 5)],
)
def test_default_threads(instances: int, cores: int, small: int, large: int) -> None:
    assert default_threads(instances, cores, SMALL_MODEL_BYTES - 1) == small
    assert default_threads(instances, cores, SMALL_MODEL_BYTES) == large
