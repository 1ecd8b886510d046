"""The rpcs by which clients register shared memory. Server process.

Memory of a GPU can be opened only by a process that holds the GPU's driver, and this one holds none.
"""

from collections.abc import Mapping

from quadriga.client_memory import ClientMemory, refuse_unless_on
from quadriga.errors import Unsupported
from quadriga.transports import Handler
from quadriga.unary import unary
from quadriga_proto import inference_pb2 as pb


class MemoryService:
    """SystemSharedMemory*, and CudaSharedMemory*, which are not served."""

    def __init__(self, memory: ClientMemory | None) -> None:
        """Keeps the regions in `memory`; None: client shared memory is off."""
        self._memory = memory

    def handlers(self) -> Mapping[str, Handler]:
        """The rpcs by method name."""
        return {
            "SystemSharedMemoryStatus": unary(pb.SystemSharedMemoryStatusRequest, self.status),
            "SystemSharedMemoryRegister": unary(pb.SystemSharedMemoryRegisterRequest, self.register),
            "SystemSharedMemoryUnregister": unary(pb.SystemSharedMemoryUnregisterRequest, self.unregister),
            "CudaSharedMemoryStatus": unary(pb.CudaSharedMemoryStatusRequest, self.cuda_status),
            "CudaSharedMemoryRegister": unary(pb.CudaSharedMemoryRegisterRequest, self.cuda_register),
            "CudaSharedMemoryUnregister": unary(pb.CudaSharedMemoryUnregisterRequest, self.cuda_unregister),
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

    def cuda_status(self, request: pb.CudaSharedMemoryStatusRequest) -> pb.CudaSharedMemoryStatusResponse:
        """None is registered, as none can be."""
        return pb.CudaSharedMemoryStatusResponse()

    def cuda_register(self, request: pb.CudaSharedMemoryRegisterRequest) -> pb.CudaSharedMemoryRegisterResponse:
        """Refuses."""
        raise Unsupported("CUDA shared memory: the server process does not use a GPU; send tensors in the messages")

    def cuda_unregister(self, request: pb.CudaSharedMemoryUnregisterRequest) -> pb.CudaSharedMemoryUnregisterResponse:
        """Nothing is there to unregister, which is no error: clients clear both kinds of memory before they use one."""
        refuse_unless_on(self._memory)
        return pb.CudaSharedMemoryUnregisterResponse()
