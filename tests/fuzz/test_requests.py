"""What the service makes of damaged requests, without a transport: admitted whole, or refused in words of the caller's.

What it remembers of requests that it has seen must never decide about another one: a service with a long memory and one
without any have to agree about every case.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from fuzz_cases import CASES, SEED, chance
from message_fuzz import Mutations, valid_requests

from quadriga.counters import ModelCounters
from quadriga.errors import ModelNotFound
from quadriga.plans import Plan
from quadriga.registry import ModelRegistry
from quadriga.requested_outputs import OutputValidator
from quadriga.requests import Caller, Request
from quadriga.responses import ResponseEncoder
from quadriga.service import InferenceService
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.transports import Call
from quadriga.validate import RequestValidator

_FLOATS = (TensorSpec(name="x", datatype="FP32", shape=(4,)),)
_TEXTS = (TensorSpec(name="x", datatype="BYTES", shape=(-1,)),)
_OPEN = (TensorSpec(name="x", datatype="INT64", shape=(-1, -1)), TensorSpec(name="y", datatype="UINT8", shape=(-1,)))
#: As the models of the fuzzed server are.
SPECS = {
    "echo": ModelSpec(inputs=_FLOATS, outputs=_FLOATS, batches=True),
    "text": ModelSpec(inputs=_TEXTS, outputs=_TEXTS, batches=True),
    "open": ModelSpec(inputs=_OPEN, outputs=_OPEN, batches=False),
}
#: What may be told to a caller; longer ones are cut off, and these must not have to be.
LONGEST_MESSAGE = 2_000
BLAMES_THE_CALLER = {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"}


class StandInModel:
    """A model whose scheduler takes down what it is given."""

    def __init__(self, name: str, spec: ModelSpec) -> None:
        self.name, self.version_text, self.spec, self.labels = name, "1", spec, ((),) * len(spec.outputs)
        self.validator = RequestValidator(name, spec, 16 if spec.batches else 0)
        self.outputs = OutputValidator(name, spec)
        self.encoder = ResponseEncoder(name, "1", spec)
        self.counters = ModelCounters()
        self.scheduler = self
        self.submitted: list[tuple[Request, int]] = []

    def submit(self, request: Request, priority: int) -> None:
        """See `Scheduler.submit`."""
        self.submitted.append((request, priority))


MODELS = {name: StandInModel(name, spec) for name, spec in SPECS.items()}


def ready(name: str, version: str) -> StandInModel:
    """See `ModelRegistry.ready`."""
    if name not in MODELS or version not in ("", "1"):
        raise ModelNotFound(f"no {name!a} {version!a}")
    return MODELS[name]


class StandInCall:
    """A call that takes down how it failed."""

    expires_ns = 0
    cancelled = False

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.failure: tuple[str, str] | None = None

    def fail(self, code: str, message: str, trailers: Mapping[str, str] | None = None) -> None:
        """See `Call.fail`."""
        assert self.failure is None
        self.failure = (code, message)


def new_service(plans: list[Plan]) -> InferenceService:
    """A service that has seen nothing; the plans of what it admits are taken down."""

    def caller(call: Call, plan: Plan) -> Caller:
        plans.append(plan)
        return cast("Caller", call)

    registry = cast("ModelRegistry", SimpleNamespace(ready=ready, find=ready))
    return InferenceService(registry, caller=caller)


def outcome(service: InferenceService, plans: list[Plan], encoded: bytes) -> Any:
    """How a service answers: the refusal, or all that is known of the request that it admitted."""
    call = StandInCall(encoded)
    service.infer(cast("Call", call))
    if call.failure is not None:
        assert not plans
        code, message = call.failure
        assert code in BLAMES_THE_CALLER, call.failure
        assert 0 < len(message.encode()) <= LONGEST_MESSAGE
        return call.failure
    (plan,) = plans
    plans.clear()
    model = cast("StandInModel", plan.model)
    ((request, priority),) = model.submitted
    model.submitted.clear()
    data = [None if raw is None else bytes(raw) for raw in request.data]
    # What was admitted is read again by workers, who trust it.
    assert [raw is None for raw in data] == [shape is None for shape in request.shapes]
    kept = (plan.model_name, plan.model_version, plan.id, plan.outputs, plan.parameters, type(plan.encoder))
    return (kept, request.key, request.rows, request.shapes, data, priority)


def one_bit_flipped(good: bytes, index: int) -> bytes:
    """What is nearest to a request that was seen before."""
    bit = chance("bit", index).randrange(8 * len(good))
    return good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :]


def test_a_service_that_remembers_agrees_with_one_that_does_not() -> None:
    valid = valid_requests()
    mutations = Mutations(SEED, valid)
    plans: list[Plan] = []
    long_memory = new_service(plans)
    admitted = 0
    for index in range(CASES):
        good = valid[index % len(valid)]
        long_memory.infer(cast("Call", StandInCall(good)))  # the damaged one comes right after it
        for model in MODELS.values():
            model.submitted.clear()
        plans.clear()
        case = mutations.case(index) if index % 2 else one_bit_flipped(good, index)
        remembered = outcome(long_memory, plans, case)
        assert remembered == outcome(new_service(plans), plans, case), case
        admitted += len(remembered) > 2
    assert CASES // 20 < admitted < CASES, admitted
