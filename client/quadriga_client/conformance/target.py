"""The server under test, as checks see it: the connection, the models by role, and what the run may do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from quadriga_client.conformance import roles
from quadriga_client.conformance.outcomes import Failed, Skipped, Unsupported
from quadriga_client.conformance.roles import RoleModel
from quadriga_client.conformance.tensors import Tensor, infer_request, outputs_of
from quadriga_client.conformance.wire import OK, Reply, Wire
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import ITEM_SIZES

#: A model and a version that no server has.
UNKNOWN_MODEL: Final = "quadriga_conformance_no_such_model"
UNKNOWN_VERSION: Final = "987654321"


class Target:
    """A server, and the models that play roles on it.

    Attributes:
        wire: Its connection.
        local: Whether it runs on this machine, and can share memory with the kit.
        allow_model_control: Whether models may be unloaded and loaded.
        name: Of the server, as ServerMetadata has it.
        version: Likewise.
        extensions: Likewise.
        models: By role; those that can play it.
        reasons: By role, why models that were named cannot.
    """

    def __init__(self, wire: Wire, *, local: bool, allow_model_control: bool) -> None:
        """A target that nothing is known of yet; `explore` asks the server."""
        self.wire = wire
        self.local = local
        self.allow_model_control = allow_model_control
        self.name = ""
        self.version = ""
        self.extensions: tuple[str, ...] = ()
        self.models: dict[str, list[RoleModel]] = {role: [] for role in roles.ROLES}
        self.reasons: dict[str, list[str]] = {role: [] for role in roles.ROLES}

    def explore(self, named: Mapping[str, Sequence[str]]) -> None:
        """Reads the server's metadata and that of the models named for each role.

        Raises:
            ServerGone: The server does not answer.
        """
        try:
            metadata = self.wire.call("ServerMetadata").read(pb.ServerMetadataResponse)
            self.name, self.version = metadata.name, metadata.version
            self.extensions = tuple(metadata.extensions)
        except (Failed, Unsupported):
            pass  # a check says so
        for role, names in named.items():
            for name in names:
                self._cast(role, name)

    def echo(self, datatype: str | None = None) -> RoleModel:
        """An echo model whose inputs are of a datatype; any, but rather FP32, where None is given.

        Raises:
            Skipped: There is none.
        """
        models = self.models[roles.ECHO]
        if datatype is None:
            fitting = sorted(models, key=lambda model: (len(model.inputs), model.inputs[0].datatype != "FP32"))
        else:
            fitting = [model for model in models if {spec.datatype for spec in model.inputs} == {datatype}]
            fitting.sort(key=lambda model: len(model.inputs))
        return roles.pick(fitting, [] if models else self.reasons[roles.ECHO], f"an echo of {datatype or 'anything'}")

    def pair(self) -> RoleModel:
        """An echo model with two or more inputs of one datatype and shape.

        Raises:
            Skipped: There is none.
        """
        models = self.models[roles.ECHO]
        fitting = [
            model
            for model in models
            if len(model.inputs) > 1 and len({(spec.datatype, spec.shape) for spec in model.inputs}) == 1
        ]
        reasons = [] if models else self.reasons[roles.ECHO]
        return roles.pick(fitting, reasons, "an echo of two inputs of one datatype and shape")

    def add(self) -> RoleModel:
        """The adding model.

        Raises:
            Skipped: There is none.
        """
        return roles.pick(self.models[roles.ADD], self.reasons[roles.ADD], "an adder")

    def image(self) -> RoleModel:
        """The image classifier.

        Raises:
            Skipped: There is none.
        """
        return roles.pick(self.models[roles.IMAGE], self.reasons[roles.IMAGE], "an image classifier")

    def cast(self) -> Iterable[RoleModel]:
        """Every model that plays a role, each once."""
        return {model.name: model for models in self.models.values() for model in models}.values()

    def infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """The answer to a request that has to be answered.

        Raises:
            Failed, Unsupported, ServerGone: As the call ended.
        """
        return self.wire.call("ModelInfer", request).read(pb.ModelInferResponse)

    def answer(self, request: pb.ModelInferRequest) -> dict[str, Tensor]:
        """The outputs of a request that has to be answered, by name.

        Raises:
            Failed, Unsupported, ServerGone: As the call ended.
        """
        return outputs_of(self.infer(request))

    def attempt(self, request: pb.ModelInferRequest) -> Reply:
        """How a request ended that may be refused."""
        return self.wire.call("ModelInfer", request)

    def _cast(self, role: str, name: str) -> None:
        reply = self.wire.call("ModelMetadata", pb.ModelMetadataRequest(name=name))
        if reply.code != OK:
            self.reasons[role].append(f"model {name!r}: ModelMetadata answered {reply}")
            return
        try:
            model = roles.read_model(reply.read(pb.ModelMetadataResponse), name)
        except Failed as failed:
            self.reasons[role].append(f"model {name!r}: {failed}")
            return
        if reason := roles.why_not(role, model):
            self.reasons[role].append(f"model {name!r} is no {role}: {reason}")
        else:
            self.models[role].append(model)


def fixed_size_request(target: Target) -> pb.ModelInferRequest:
    """A valid raw request to an echo model of one input whose elements have a fixed size.

    Raises:
        Skipped: There is no such model.
    """
    model = target.echo()
    if len(model.inputs) != 1 or model.inputs[0].datatype not in ITEM_SIZES:
        raise Skipped(f"{model.name!r} is no echo of one tensor of numbers")
    return valid_request(model)


def refusal(target: Target, what: str, change: Callable[[pb.ModelInferRequest], None]) -> str:
    """Changes a request that an echo model would answer, and holds the server to refuse it; returns the code.

    Raises:
        Failed: It answered.
        Skipped: There is no such model.
    """
    request = fixed_size_request(target)
    change(request)
    return target.attempt(request).refused(what)


def valid_request(model: RoleModel, *, seed: int = 0, rows: int = 1, typed: bool = False) -> pb.ModelInferRequest:
    """A request that the model has to answer."""
    return infer_request(model.name, model.examples(seed=seed, rows=rows), typed=typed)
