"""Checks of the model repository: its index, and unloading and loading where the run may change the server's state."""

import time

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import triton
from quadriga_client.conformance.outcomes import Failed, Level, Skipped, Unsupported
from quadriga_client.conformance.roles import RoleModel
from quadriga_client.conformance.target import UNKNOWN_MODEL, Target, valid_request
from quadriga_client.conformance.wire import OK, UNIMPLEMENTED, Reply
from quadriga_proto import inference_pb2 as pb

GROUP = "triton.repository"
_SOURCE = triton("model_repository")
#: Codes of servers that have the rpcs but do not let clients load models.
_NOT_ALLOWED = frozenset({"UNAVAILABLE", "FAILED_PRECONDITION", "PERMISSION_DENIED", UNIMPLEMENTED})
_UNLOAD_SECONDS = 30.0
_LOOK_SECONDS = 0.05


@register(
    "TRITON-REPO-INDEX", GROUP, Level.SHOULD, "RepositoryIndex lists models that answer, as READY.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def index(target: Target) -> None:
    target.echo()
    ready = {entry.name for entry in _index(target) if entry.state == "READY"}
    missing = {model.name for model in target.cast()} - ready
    if missing:
        raise Failed(f"{', '.join(sorted(missing))} answer, but are not listed as READY")


@register(
    "TRITON-REPO-INDEX-READY", GROUP, Level.SHOULD, "With ready=true, RepositoryIndex lists only what is READY.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def index_of_ready(target: Target) -> str:
    model = target.echo()
    entries = _index(target, ready=True)
    others = [f"{entry.name}: {entry.state}" for entry in entries if entry.state not in ("READY", "")]
    if others or model.name not in {entry.name for entry in entries}:
        raise Failed(f"with ready=true, {', '.join(others) or 'the echo model is missing'}")
    return f"{len(entries)} of {len(_index(target))} entries"


@register(
    "TRITON-REPO-INDEX-STATES", GROUP, Level.MAY,
    "States are Triton's: READY, UNAVAILABLE, LOADING, UNLOADING or none.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def states(target: Target) -> str:
    target.echo()
    found = {entry.state for entry in _index(target)}
    if found - {"READY", "UNAVAILABLE", "LOADING", "UNLOADING", "UNKNOWN", ""}:
        raise Failed(f"the states are {', '.join(sorted(found))}")
    return ", ".join(sorted(found))


@register(
    "TRITON-REPO-LOAD-UNKNOWN", GROUP, Level.SHOULD, "Loading a model that is not there is an error.", source=_SOURCE
)  # fmt: skip
def load_unknown(target: Target) -> str:
    _expect_allowed(target)
    reply = target.wire.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=UNKNOWN_MODEL))
    if reply.code in _NOT_ALLOWED:
        raise Unsupported(f"RepositoryModelLoad answered {reply}")
    return reply.refused("a model that is not there")


@register(
    "TRITON-REPO-UNLOAD-UNKNOWN", GROUP, Level.MAY, "Unloading a model that is not there is no error.", source=_SOURCE
)  # fmt: skip
def unload_unknown(target: Target) -> str:
    _expect_allowed(target)
    reply = target.wire.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=UNKNOWN_MODEL))
    if reply.code in _NOT_ALLOWED:
        raise Unsupported(f"RepositoryModelUnload answered {reply}")
    if reply.code != OK:
        raise Failed(f"RepositoryModelUnload answered {reply}; expected OK")
    return reply.code


@register(
    "TRITON-REPO-UNLOAD-LOAD", GROUP, Level.SHOULD,
    "A model that is unloaded is not ready and does not answer; loaded again, it is and does.", source=_SOURCE,
    roles=["add"],
)  # fmt: skip
def unload_and_load(target: Target) -> str:
    _expect_allowed(target)
    model = target.add()
    reply = target.wire.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=model.name))
    if reply.code in _NOT_ALLOWED:
        raise Unsupported(f"RepositoryModelUnload answered {reply}")
    reply.read(pb.RepositoryModelUnloadResponse)
    try:
        _wait_until_unloaded(target, model)
        code = target.attempt(valid_request(model)).refused("a model that is unloaded")
    finally:
        loaded = target.wire.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=model.name))
    loaded.read(pb.RepositoryModelLoadResponse)
    if not _is_ready(target, model):
        raise Failed("RepositoryModelLoad answered OK, and then ModelReady false")
    target.infer(valid_request(model))
    return f"while it was unloaded: {code}"


def _expect_allowed(target: Target) -> None:
    if not target.allow_model_control:
        raise Skipped("it may change what the server has loaded; --allow-model-control lets it")


def _index(target: Target, *, ready: bool = False) -> list[pb.RepositoryIndexResponse.ModelIndex]:
    reply: Reply = target.wire.call("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready))
    return list(reply.read(pb.RepositoryIndexResponse).models)


def _is_ready(target: Target, model: RoleModel) -> bool:
    reply = target.wire.call("ModelReady", pb.ModelReadyRequest(name=model.name))
    return reply.code == OK and reply.read(pb.ModelReadyResponse).ready


def _wait_until_unloaded(target: Target, model: RoleModel) -> None:
    """Unloading may go on after the rpc has returned, while requests in hand end."""
    end = time.monotonic() + _UNLOAD_SECONDS
    while _is_ready(target, model):
        if time.monotonic() > end:
            raise Failed(f"ModelReady still says true {_UNLOAD_SECONDS:.0f} s after RepositoryModelUnload")
        time.sleep(_LOOK_SECONDS)
