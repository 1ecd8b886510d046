"""Settings of one model, with their defaults and limits. Runs in the server process.

Values only: `config_file` reads a model's settings from disk.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from quadriga.errors import ConfigError
from quadriga.limits import Limits, check_choice, check_inside, check_limits
from quadriga.queue_policy import BatchPolicy, DynamicBatching
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga.warm_up import WarmUp, WarmUpInput
from quadriga_proto.model_config_pb2 import ModelConfig as ConfigMessage
from quadriga_proto.model_config_pb2 import ModelInput, ModelInstanceGroup, ModelWarmup

#: Rows per batch of a model whose file has a batch dimension and whose config gives no max_batch_size.
DEFAULT_MAX_BATCH_SIZE: Final = 16

#: Measured on two cores: networks of 0.1 MB answered 0.6 to 1.1 times as many requests with both as with one of them,
#: MobileNetV2 (14 MB) 0.8 to 1.6 times, ResNet-50 (102 MB) 1.0 to 1.9 times. See benchmarks/BACKENDS.md.
SMALL_MODEL_BYTES: Final = 4 << 20

#: A batch that takes longer is taken to hang.
DEFAULT_BATCH_SECONDS: Final = 60.0
#: Likewise a worker that loads and warms up its model.
DEFAULT_LOAD_SECONDS: Final = 600.0

DeviceKind = Literal["auto", "cpu", "gpu"]
VersionKind = Literal["latest", "all", "specific"]

_LIMITS: Final[dict[str, Limits]] = {
    "max_batch_size": (0, 65_536),
    "instance_group.count": (1, 256),
    "instance_group.gpus": (0, 255),
    "parameters.batch_timeout_seconds": (0, 86_400),
    "parameters.load_timeout_seconds": (0, 86_400),
    "parameters.threads": (1, 1024),
    "version_policy.latest.num_versions": (1, 2**31 - 1),
    "version_policy.specific.versions": (1, 2**63 - 1),
}


def _check_tensors(key: str, tensors: tuple[TensorSpec, ...]) -> None:
    names = set()
    for tensor in tensors:
        if not tensor.name:
            raise ConfigError(f"{key} has no name; expected the model's own name of it")
        if tensor.name in names:
            raise ConfigError(f"{key} {tensor.name!r} is declared twice")
        names.add(tensor.name)
        if any(size < 1 and size != ANY for size in tensor.shape):
            raise ConfigError(
                f"{key} {tensor.name!r} has dims {list(tensor.shape)}; expected sizes from 1, or -1 for any"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """Workers that run one model.

    Attributes:
        kind: "auto" is the first GPU where one is visible, else the CPU.
        count: Workers on the CPU, or on each GPU.
        gpus: Indices of the GPUs to use; empty: every visible one.
        name: Only shown.
    """

    kind: DeviceKind = "auto"
    count: int = 1
    gpus: tuple[int, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        check_choice("instance_group.kind", self.kind, get_args(DeviceKind))
        check_limits("instance_group.count", self.count, _LIMITS)
        for index in self.gpus:
            check_limits("instance_group.gpus", index, _LIMITS)
        if len(set(self.gpus)) != len(self.gpus):
            raise ConfigError(f"instance_group.gpus is {list(self.gpus)}; expected each GPU once")
        if self.gpus and self.kind == "cpu":
            raise ConfigError(
                f"instance_group.gpus is {list(self.gpus)} in a group of kind KIND_CPU; expected KIND_GPU"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPolicy:
    """Which versions of a model are served.

    Attributes:
        kind: The `count` highest versions, all of them, or those in `versions`.
        count: For "latest".
        versions: For "specific".
    """

    kind: VersionKind = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_choice("version_policy", self.kind, get_args(VersionKind))
        check_limits("version_policy.latest.num_versions", self.count, _LIMITS)
        for version in self.versions:
            check_limits("version_policy.specific.versions", version, _LIMITS)
        if bool(self.versions) != (self.kind == "specific"):
            raise ConfigError(
                f"version_policy.specific.versions is {list(self.versions)} and the policy is {self.kind!r}; "
                "expected versions with 'specific', and only there"
            )

    def choose(self, available: Iterable[int]) -> tuple[int, ...]:
        """The versions to serve, ascending; with "specific" also those that are not in `available`."""
        if self.kind == "specific":
            return tuple(sorted(set(self.versions)))
        ordered = sorted(available)
        return tuple(ordered if self.kind == "all" else ordered[-self.count :])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Settings of one model.

    Attributes:
        name: Of the model, and of its folder.
        backend: A key of `BACKENDS`, or "module:Class"; None: the file's format says.
        file_name: Of the model's file, relative to the version's folder; None: "model" plus the format's suffix.
        max_batch_size: Largest batch in rows; 0: the model does not batch; None: not given, the file decides.
        inputs: As declared; one row's shape where `max_batch_size` is above 0, else the whole shape.
        outputs: Likewise.
        input_formats: Layouts declared for inputs (FORMAT_NHWC, FORMAT_NCHW), by input name.
        batching: How requests wait and are joined.
        instance_groups: At least one.
        threads: Threads that one inference may use (`parameters["threads"]`); None: not given.
        batch_timeout_seconds: How long a batch may run before its worker is taken to hang; 0: for ever (likewise).
        load_timeout_seconds: How long a worker may load and warm up before it is taken to hang; 0: for ever (likewise).
        parameters: For the backend; without those that have a field here.
        label_files: Label file by output name, relative to the model's folder.
        versions: Which versions are served.
        warm_ups: Inputs on which every instance is run before it is ready.

    Raises:
        ConfigError: A value is out of range; names the key, what came and what was expected.
    """

    name: str
    backend: str | None = None
    file_name: str | None = None
    max_batch_size: int | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    input_formats: Mapping[str, str] = field(default_factory=dict)
    batching: DynamicBatching = field(default_factory=DynamicBatching)
    instance_groups: tuple[InstanceGroup, ...] = (InstanceGroup(),)
    threads: int | None = None
    batch_timeout_seconds: float = DEFAULT_BATCH_SECONDS
    load_timeout_seconds: float = DEFAULT_LOAD_SECONDS
    parameters: Mapping[str, str] = field(default_factory=dict)
    label_files: Mapping[str, str] = field(default_factory=dict)
    versions: VersionPolicy = VersionPolicy()
    warm_ups: tuple[WarmUp, ...] = ()

    def __post_init__(self) -> None:
        if self.max_batch_size is not None:
            check_limits("max_batch_size", self.max_batch_size, _LIMITS)
            self.batching.check_preferred(self.max_batch_size)
            for warm_up in self.warm_ups:
                _check_rows(warm_up, self.max_batch_size)
        if self.threads is not None:
            check_limits("parameters.threads", self.threads, _LIMITS)
        check_limits("parameters.batch_timeout_seconds", self.batch_timeout_seconds, _LIMITS)
        check_limits("parameters.load_timeout_seconds", self.load_timeout_seconds, _LIMITS)
        if not self.instance_groups:
            raise ConfigError("instance_group is empty; expected at least one group")
        _check_tensors("input", self.inputs)
        _check_tensors("output", self.outputs)
        if self.file_name is not None:
            check_inside("default_model_filename", self.file_name, "the model's folder")
        for file_name in self.label_files.values():
            check_inside("label_filename", file_name, "the model's folder")

    @property
    def batches(self) -> bool | None:
        """Whether the config says that the first dimension is rows; None: it does not say."""
        return None if self.max_batch_size is None else self.max_batch_size > 0

    def batch_policy(self, spec: ModelSpec) -> BatchPolicy:
        """What the scheduler runs with, once the file's contract is known.

        `max_batch_size` of the answer is above 0 exactly when `spec.batches`.

        Raises:
            ConfigError: `max_batch_size` contradicts the file, or a preferred size is larger.
        """
        if self.batches is not None and self.batches != spec.batches:
            found = "has" if spec.batches else "has no"
            raise ConfigError(
                f"max_batch_size is {self.max_batch_size}, but the model of {self.name!r} {found} batch dimension; "
                f"leave max_batch_size out, or set it {'above 0' if spec.batches else 'to 0'}"
            )
        default = DEFAULT_MAX_BATCH_SIZE if spec.batches else 0
        return self.batching.with_batches_of(default if self.max_batch_size is None else self.max_batch_size)

    def to_message(self, spec: ModelSpec | None, platform: str) -> ConfigMessage:
        """The configuration in force, defaults filled in: what the ModelConfig rpc answers.

        Args:
            spec: The loaded file's contract; None: not loaded, so what the config declares is shown instead.
            platform: As the protocol names the file's format.
        """
        declared = ModelSpec(inputs=self.inputs, outputs=self.outputs, batches=bool(self.batches))
        tensors = declared if spec is None else spec
        batching, largest = self.batching, self.max_batch_size or 0
        if spec is not None:
            batching = policy = self.batch_policy(spec)
            largest = policy.max_batch_size
        message = ConfigMessage(
            name=self.name,
            platform=platform,
            backend=self.backend or "",
            max_batch_size=largest,
            default_model_filename=self.file_name or "",
        )
        for tensor in tensors.inputs:
            layout = ModelInput.Format.Value(self.input_formats.get(tensor.name, "FORMAT_NONE"))
            message.input.add(
                name=tensor.name,
                data_type=_data_type(tensor),
                format=layout,
                dims=tensor.shape,
                optional=tensor.optional,
            )
        for tensor in tensors.outputs:
            label_file = self.label_files.get(tensor.name, "")
            message.output.add(
                name=tensor.name, data_type=_data_type(tensor), dims=tensor.shape, label_filename=label_file
            )
        self._write_versions(message)
        self._write_scheduling(message, batching)
        return message

    def _write_versions(self, message: ConfigMessage) -> None:
        match self.versions.kind:
            case "latest":
                message.version_policy.latest.num_versions = self.versions.count
            case "all":
                message.version_policy.all.SetInParent()
            case "specific":
                message.version_policy.specific.versions.extend(self.versions.versions)

    def _write_scheduling(self, message: ConfigMessage, batching: DynamicBatching) -> None:
        message.dynamic_batching.CopyFrom(batching.to_message())
        for group in self.instance_groups:
            kind = ModelInstanceGroup.Kind.Value(f"KIND_{group.kind.upper()}")
            message.instance_group.add(name=group.name, kind=kind, count=group.count, gpus=group.gpus)
        for key, value in self.parameters.items():
            message.parameters[key].string_value = value
        if self.threads is not None:
            message.parameters["threads"].string_value = str(self.threads)
        message.parameters["batch_timeout_seconds"].string_value = f"{self.batch_timeout_seconds:g}"
        message.parameters["load_timeout_seconds"].string_value = f"{self.load_timeout_seconds:g}"
        for warm_up in self.warm_ups:
            _write_warm_up(message, warm_up)


def _check_rows(warm_up: WarmUp, max_batch_size: int) -> None:
    try:
        warm_up.check_rows(max_batch_size)
    except ConfigError as error:
        raise ConfigError(f"model_warmup {warm_up.name!r}: {error}") from None


def default_threads(instances: int, cores: int, model_bytes: int) -> int:
    """Threads of one inference where the config gives none: the cores, divided among the instances.

    A small network gains nothing by a second thread, and waits for it: half the cores are left to the server.

    Args:
        instances: Workers that run the model.
        cores: Of the machine.
        model_bytes: Size of the model on disk.
    """
    return max(1, (cores // 2 if model_bytes < SMALL_MODEL_BYTES else cores) // instances)


def _write_warm_up(message: ConfigMessage, warm_up: WarmUp) -> None:
    written = message.model_warmup.add(name=warm_up.name, batch_size=warm_up.batch_size, count=warm_up.count)
    for name, tensor in warm_up.inputs.items():
        place = written.inputs[name]
        place.CopyFrom(ModelWarmup.Input(data_type=_data_type(tensor), dims=tensor.shape))
        match tensor.content:
            case "zeros":
                place.zero_data = True
            case "random":
                place.random_data = True
            case "file":
                place.input_data_file = tensor.file


def _data_type(tensor: TensorSpec | WarmUpInput) -> str:
    return "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"
