"""Checks of system shared memory: registering a region, tensors in it, and what is refused. On one machine only."""

import contextlib
import uuid
from collections.abc import Iterator, MutableMapping
from multiprocessing.shared_memory import SharedMemory

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import triton
from quadriga_client.conformance.outcomes import Failed, Level, Skipped
from quadriga_client.conformance.roles import RoleModel
from quadriga_client.conformance.target import Target
from quadriga_client.conformance.tensors import Tensor, expect_same
from quadriga_client.conformance.wire import OK, Reply
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import ITEM_SIZES

GROUP = "triton.shared_memory"
_SOURCE = triton("shared_memory")
_SIZE = 4096
_OUTPUT_OFFSET = 2048


@contextlib.contextmanager
def region(target: Target) -> Iterator[tuple[SharedMemory, str]]:
    """A segment of this process, and the name that it is registered under at the server.

    Raises:
        Skipped: The server is on another machine.
        Unsupported: It takes no shared memory.
    """
    if not target.local:
        raise Skipped("the server is not known to run on this machine; use a loopback address")
    memory = SharedMemory(create=True, size=_SIZE)
    name = f"quadriga_conformance_{uuid.uuid4().hex}"
    try:
        _register(target, name, memory.name).read(pb.SystemSharedMemoryRegisterResponse)
        yield memory, name
    finally:
        _unregister(target, name)
        memory.close()
        memory.unlink()


@register(
    "TRITON-SHM-STATUS", GROUP, Level.SHOULD, "A registered region is in the status, with its key, offset and size.",
    source=_SOURCE,
)  # fmt: skip
def status(target: Target) -> None:
    with region(target) as (memory, name):
        found = _status(target)
        if name not in found:
            raise Failed(f"the status has no region {name!r} after it was registered")
        entry = found[name]
        # Servers may show the key with or without the slash that shm_open wants in front.
        if (entry.key.lstrip("/"), entry.offset, entry.byte_size) != (memory.name.lstrip("/"), 0, _SIZE):
            raise Failed(f"the status has key {entry.key!r}, offset {entry.offset}, byte_size {entry.byte_size}")


@register(
    "TRITON-SHM-INPUT", GROUP, Level.SHOULD, "An input is read from a region.", source=_SOURCE, roles=["echo"]
)  # fmt: skip
def read_input(target: Target) -> None:
    model, sent = _one_tensor(target)
    with region(target) as (memory, name):
        _view(memory)[: len(sent.raw)] = sent.raw
        answered = target.answer(_request(model, sent, name, 0))
        expect_same("the output", answered.get(model.outputs[0].name), sent)


@register(
    "TRITON-SHM-OFFSET", GROUP, Level.SHOULD, "An input is read from an offset in a region.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def read_at_offset(target: Target) -> None:
    model, sent = _one_tensor(target)
    with region(target) as (memory, name):
        _view(memory)[256 : 256 + len(sent.raw)] = sent.raw
        answered = target.answer(_request(model, sent, name, 256))
        expect_same("the output", answered.get(model.outputs[0].name), sent)


@register(
    "TRITON-SHM-OUTPUT", GROUP, Level.SHOULD, "An output is written to a region, and not sent.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def write_output(target: Target) -> None:
    model, sent = _one_tensor(target)
    with region(target) as (memory, name):
        view = _view(memory)
        view[: len(sent.raw)] = sent.raw
        request = _request(model, sent, name, 0)
        output = request.outputs.add(name=model.outputs[0].name)
        _place(output.parameters, name, _OUTPUT_OFFSET, len(sent.raw))
        response = target.infer(request)
        written = bytes(view[_OUTPUT_OFFSET : _OUTPUT_OFFSET + len(sent.raw)])
        if written != sent.raw:
            raise Failed(
                f"the region has {written[:24].hex()} where the output belongs; expected {sent.raw[:24].hex()}"
            )
        if any(response.raw_output_contents):
            raise Failed("the output was sent, too; expected it in the region alone")


@register(
    "TRITON-SHM-UNKNOWN-REGION", GROUP, Level.SHOULD, "A tensor in a region that is not registered is refused.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def unknown_region(target: Target) -> str:
    model, sent = _one_tensor(target)
    with region(target) as (_, name):
        return target.attempt(_request(model, sent, f"{name}_other", 0)).refused("a region that is not registered")


@register(
    "TRITON-SHM-PAST-END", GROUP, Level.SHOULD, "A tensor that goes past its region's end is refused.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def past_end(target: Target) -> str:
    model, sent = _one_tensor(target)
    with region(target) as (_, name):
        return target.attempt(_request(model, sent, name, _SIZE - 1)).refused("a tensor past the region's end")


@register(
    "TRITON-SHM-TWICE", GROUP, Level.SHOULD, "Registering a name that is taken is refused.", source=_SOURCE
)  # fmt: skip
def twice(target: Target) -> str:
    with region(target) as (memory, name):
        return _register(target, name, memory.name).refused("a region's name that is taken")


@register(
    "TRITON-SHM-NO-SEGMENT", GROUP, Level.SHOULD, "Registering a segment that is not there is refused.", source=_SOURCE
)  # fmt: skip
def no_segment(target: Target) -> str:
    with region(target) as (memory, name):
        return _register(target, f"{name}_other", f"{memory.name}_other").refused("a segment that is not there")


@register(
    "TRITON-SHM-TOO-LARGE", GROUP, Level.SHOULD, "Registering more bytes than a segment has is refused.", source=_SOURCE
)  # fmt: skip
def too_large(target: Target) -> str:
    with region(target) as (memory, name):
        reply = _register(target, f"{name}_other", memory.name, size=_SIZE * 1000)
        _unregister(target, f"{name}_other")
        return reply.refused("a region larger than its segment")


@register(
    "TRITON-SHM-UNREGISTER", GROUP, Level.SHOULD,
    "An unregistered region is gone, and unregistering it again is no error.",
    source=_SOURCE,
)  # fmt: skip
def unregister(target: Target) -> None:
    with region(target) as (_, name):
        for _ in range(2):
            reply = _unregister(target, name)
            if reply.code != OK:
                raise Failed(f"SystemSharedMemoryUnregister answered {reply}; expected OK")
            if name in _status(target):
                raise Failed("the region is in the status after it was unregistered")


def _one_tensor(target: Target) -> tuple[RoleModel, Tensor]:
    model = target.echo()
    if len(model.inputs) != 1 or model.inputs[0].datatype not in ITEM_SIZES:
        raise Skipped(f"{model.name!r} is no echo of one tensor of numbers")
    (sent,) = model.examples(seed=3).values()
    if len(sent.raw) > _OUTPUT_OFFSET // 2:
        raise Skipped(f"a tensor of {model.name!r} has {len(sent.raw)} bytes, more than the kit's region is made for")
    return model, sent


def _request(model: RoleModel, sent: Tensor, name: str, offset: int) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model.name)
    tensor = request.inputs.add(name=model.inputs[0].name, datatype=sent.datatype, shape=sent.shape)
    _place(tensor.parameters, name, offset, len(sent.raw))
    return request


def _place(parameters: MutableMapping[str, pb.InferParameter], name: str, offset: int, size: int) -> None:
    parameters["shared_memory_region"].string_param = name
    parameters["shared_memory_byte_size"].int64_param = size
    if offset:
        parameters["shared_memory_offset"].int64_param = offset


def _view(memory: SharedMemory) -> "memoryview[int]":
    assert memory.buf is not None
    return memory.buf


def _register(target: Target, name: str, key: str, *, size: int = _SIZE) -> Reply:
    request = pb.SystemSharedMemoryRegisterRequest(name=name, key=f"/{key.lstrip('/')}", byte_size=size)
    return target.wire.call("SystemSharedMemoryRegister", request)


def _unregister(target: Target, name: str) -> Reply:
    return target.wire.call("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name=name))


def _status(target: Target) -> "dict[str, pb.SystemSharedMemoryStatusResponse.RegionStatus]":
    reply = target.wire.call("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest())
    return dict(reply.read(pb.SystemSharedMemoryStatusResponse).regions)
