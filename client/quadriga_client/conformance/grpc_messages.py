"""gRPC's own messages that the kit needs, of grpc.health.v1 and reflection; runs in the kit's process.

The client library does not depend on the packages that ship them. Only the fields that are read are described; protobuf
leaves the others alone. The descriptors live in a pool of their own, beside those of the packages where they are there.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_FIELD = descriptor_pb2.FieldDescriptorProto
_OPTIONAL: Final = _FIELD.LABEL_OPTIONAL
_REPEATED: Final = _FIELD.LABEL_REPEATED

#: ServingStatus of grpc.health.v1.
SERVING: Final = 1
SERVICE_UNKNOWN: Final = 3
SERVING_STATUSES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
HEALTH: Final = "grpc.health.v1.Health"
#: Both versions have the same messages; servers of today mostly have the first.
REFLECTION_PACKAGES: Final = ("grpc.reflection.v1alpha", "grpc.reflection.v1")

#: Message -> field -> (number, type, label, type's name); the same for every package of reflection.
_REFLECTION: Final = {
    "ServiceResponse": {"name": (1, _FIELD.TYPE_STRING, _OPTIONAL, "")},
    "ListServiceResponse": {"service": (1, _FIELD.TYPE_MESSAGE, _REPEATED, "ServiceResponse")},
    "FileDescriptorResponse": {"file_descriptor_proto": (1, _FIELD.TYPE_BYTES, _REPEATED, "")},
    "ErrorResponse": {
        "error_code": (1, _FIELD.TYPE_INT32, _OPTIONAL, ""),
        "error_message": (2, _FIELD.TYPE_STRING, _OPTIONAL, ""),
    },
    "ServerReflectionRequest": {
        "file_containing_symbol": (4, _FIELD.TYPE_STRING, _OPTIONAL, ""),
        "list_services": (7, _FIELD.TYPE_STRING, _OPTIONAL, ""),
    },
    "ServerReflectionResponse": {
        "file_descriptor_response": (4, _FIELD.TYPE_MESSAGE, _OPTIONAL, "FileDescriptorResponse"),
        "list_services_response": (6, _FIELD.TYPE_MESSAGE, _OPTIONAL, "ListServiceResponse"),
        "error_response": (7, _FIELD.TYPE_MESSAGE, _OPTIONAL, "ErrorResponse"),
    },
}
_HEALTH: Final = {
    "HealthCheckRequest": {"service": (1, _FIELD.TYPE_STRING, _OPTIONAL, "")},
    # An enum on the wire is an int32.
    "HealthCheckResponse": {"status": (1, _FIELD.TYPE_INT32, _OPTIONAL, "")},
}


def _build(package: str, messages: dict[str, Any]) -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, label, type_name) in fields.items():
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if type_name:
                added.type_name = f".{package}.{type_name}"
    _give_presence(file)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


def _give_presence(file: descriptor_pb2.FileDescriptorProto) -> None:
    """A choice is sent even where it is empty, as list_services is: the members of the request's oneof."""
    for message in file.message_type:
        if message.name == "ServerReflectionRequest":
            message.oneof_decl.add(name="message_request")
            for field in message.field:
                field.oneof_index = 0


_health_classes = _build("grpc.health.v1", _HEALTH)
_reflection_classes = _build(REFLECTION_PACKAGES[0], _REFLECTION)

HealthCheckRequest: Any = _health_classes["HealthCheckRequest"]
HealthCheckResponse: Any = _health_classes["HealthCheckResponse"]
ServerReflectionRequest: Any = _reflection_classes["ServerReflectionRequest"]
ServerReflectionResponse: Any = _reflection_classes["ServerReflectionResponse"]
