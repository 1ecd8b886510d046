"""Where the rules are written, as the catalogue cites them."""

from typing import Final


def oip(section: str) -> str:
    """A section of the Open Inference Protocol's text on gRPC."""
    return f"OIP inference_grpc.md, {section}"


def triton(document: str) -> str:
    """One of Triton's documents on its extensions."""
    return f"Triton docs/protocol/extension_{document}.md"


INFERENCE: Final = oip("Inference")
HEALTH_V1: Final = "gRPC doc/health-checking.md"
REFLECTION: Final = "gRPC doc/server-reflection.md"
STATUS_CODES: Final = "gRPC doc/statuscodes.md"
TRITON_PROTO: Final = "Triton protobuf/grpc_service.proto"
BINARY: Final = "Triton docs/protocol/extension_binary_data.md"
UNWRITTEN: Final = "not written; what clients rely on"
