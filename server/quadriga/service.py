"""Inference: from a call's bytes to an admitted request, and from outputs to the call's response. Server process.

This is the hot path's outer ring. It translates; validation, scheduling and computing are others'.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from quadriga.client_memory import ClientMemory
from quadriga.counters import ModelCounters
from quadriga.deliveries import DeliveringEncoder
from quadriga.errors import RequestError
from quadriga.model_version import ModelVersion
from quadriga.parameters import Parameters, read_parameters
from quadriga.plans import Plan, PlanMemory
from quadriga.registry import ModelRegistry
from quadriga.requested_outputs import RequestedOutputs
from quadriga.requests import Caller, Course, Output, Request
from quadriga.transports import Call
from quadriga.unary import fail, parse
from quadriga.units import MICROSECOND_NS
from quadriga_proto.inference_pb2 import ModelInferRequest

NO_PARAMETERS: Final = Parameters()


class InferenceService:
    """ModelInfer.

    Attributes:
        refused: Requests that named no model that is known, by gRPC code and reason; others count at their model. The
            guard counts here what it turns away.
    """

    def __init__(
        self, models: ModelRegistry, memory: ClientMemory | None = None, caller: "MakeCaller | None" = None
    ) -> None:
        """Serves the registry's models.

        Args:
            models: What there is.
            memory: What clients share; None where they may not.
            caller: Makes who waits for an admitted request; None: `InferCaller`.
        """
        self._models = models
        self._memory = memory
        self._caller: MakeCaller = caller or InferCaller
        self._plans = PlanMemory()
        self.refused = ModelCounters().refused

    def infer(self, call: Call) -> None:
        """Admits one ModelInfer call, or fails it."""
        arrived_ns = time.monotonic_ns()
        try:
            plan, data = self._read(call.request)
        except RequestError as error:
            self._refused_of(call.request)[error.code, error.reason] += 1
            fail(call, error)
            return
        try:
            self._submit(call, plan, data, arrived_ns)
        except RequestError as error:
            plan.model.counters.refused[error.code, error.reason] += 1
            fail(call, error)

    def forget(self, model: ModelVersion) -> None:
        """Drops what is remembered of a model that takes no requests any more."""
        self._plans.forget(model)

    def _read(self, encoded: bytes) -> tuple[Plan, "Sequence[bytes | memoryview[int] | None]"]:
        """What a request asks for, and its tensors' raw encodings in the model's order of inputs."""
        known = self._plans.find(encoded)
        if known is not None and self._models.ready(known[0].model_name, known[0].model_version) is known[0].model:
            return known[0], known[1:]
        request = parse(encoded, ModelInferRequest)
        model = self._models.ready(request.model_name, request.model_version)
        inputs = model.validator.inputs(request, self._memory)
        outputs = model.outputs.read(request, self._memory)
        plan = Plan(
            model=model,
            model_name=request.model_name,
            model_version=request.model_version,
            id=request.id,
            shapes=inputs.shapes,
            key=tuple([shape and shape[1:] for shape in inputs.shapes]),
            rows=inputs.rows,
            outputs=outputs.indices,
            parameters=read_parameters(request) if request.parameters else NO_PARAMETERS,
            encoder=_delivering(model, outputs) if outputs.deliveries else model.encoder,
        )
        if not (outputs.deliveries and outputs.bound_to_memory):
            self._plans.learn(encoded, request, plan)
        return plan, inputs.data

    def _submit(
        self, call: Call, plan: Plan, data: "Sequence[bytes | memoryview[int] | None]", arrived_ns: int
    ) -> None:
        expires_ns = call.expires_ns
        if plan.parameters.timeout_us:
            expires_ns = earliest(expires_ns, arrived_ns + plan.parameters.timeout_us * MICROSECOND_NS)
        caller = self._caller(call, plan)
        request = Request(caller, data, plan.shapes, plan.key, plan.rows, arrived_ns, expires_ns)
        plan.model.scheduler.submit(request, plan.parameters.priority)

    def _refused_of(self, encoded: bytes) -> Counter[tuple[str, str]]:
        """Where to count a refusal: at the model that the request means, if it is known."""
        try:
            request = parse(encoded, ModelInferRequest)
            return self._models.find(request.model_name, request.model_version).counters.refused
        except RequestError:
            return self.refused


class InferCaller:
    """The caller of one admitted request: encodes its response."""

    __slots__ = ("_call", "_plan")

    def __init__(self, call: Call, plan: Plan) -> None:
        self._call = call
        self._plan = plan

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone."""
        return self._call.cancelled

    def answer(self, outputs: Sequence[Output], course: Course) -> None:
        """Responds with the outputs that were asked for."""
        plan = self._plan
        told = course.timings() if plan.parameters.with_timings else None
        self._call.respond(plan.encoder.encode(plan.id, plan.outputs, outputs, told))

    def fail(self, error: RequestError) -> None:
        """Ends the call with the error's status."""
        fail(self._call, error)


#: Makes the caller of an admitted request, from its call and what it asks for.
MakeCaller = Callable[[Call, Plan], Caller]


def _delivering(model: ModelVersion, outputs: RequestedOutputs) -> DeliveringEncoder:
    return DeliveringEncoder(model.name, model.version_text, model.spec, model.labels, outputs.deliveries)


def earliest(first: int, second: int) -> int:
    """The earlier of two instants or durations, of which 0 means never."""
    if first and second:
        return min(first, second)
    return first or second
