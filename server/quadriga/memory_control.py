"""The rpcs by which clients register shared memory. Server process."""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from quadriga.client_memory import ClientMemory, refuse_unless_on
from quadriga.errors import Unsupported
from quadriga_proto import inference_pb2 as pb

#: By method name: the class of the request, and what answers it.
Rpcs = Mapping[str, tuple[type[Message], Callable[[Any], Message]]]


class MemoryControl:
    """SystemSharedMemory*, and CudaSharedMemory*, which are not served."""

    def __init__(self, memory: ClientMemory | None) -> None:
        """Keeps the regions in `memory`; None: client shared memory is off."""
        self._memory = memory

    def rpcs(self) -> Rpcs:
        """What is answered."""
        return {
            "SystemSharedMemoryStatus": (pb.SystemSharedMemoryStatusRequest, self.status),
            "SystemSharedMemoryRegister": (pb.SystemSharedMemoryRegisterRequest, self.register),
            "SystemSharedMemoryUnregister": (pb.SystemSharedMemoryUnregisterRequest, self.unregister),
            "CudaSharedMemoryStatus": (pb.CudaSharedMemoryStatusRequest, _no_cuda),
            "CudaSharedMemoryRegister": (pb.CudaSharedMemoryRegisterRequest, _no_cuda),
            "CudaSharedMemoryUnregister": (pb.CudaSharedMemoryUnregisterRequest, _no_cuda),
        }

    def status(self, request: pb.SystemSharedMemoryStatusRequest) -> pb.SystemSharedMemoryStatusResponse:
        """The registered regions, or the one that is named; none while the feature is off."""
        response = pb.SystemSharedMemoryStatusResponse()
        for region in self._memory.listed(request.name) if self._memory is not None else ():
            status = response.regions[region.name]
            status.name, status.key = region.name, region.key
            status.offset, status.byte_size = region.offset, region.size
        return response

    def register(self, request: pb.SystemSharedMemoryRegisterRequest) -> pb.SystemSharedMemoryRegisterResponse:
        """Makes a region known."""
        memory = refuse_unless_on(self._memory)
        memory.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    def unregister(self, request: pb.SystemSharedMemoryUnregisterRequest) -> pb.SystemSharedMemoryUnregisterResponse:
        """Takes a region, or all, from new requests."""
        refuse_unless_on(self._memory).unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()


def _no_cuda(request: Message) -> Message:
    raise Unsupported("CUDA shared memory: the server process does not use a GPU; send tensors in the messages")
