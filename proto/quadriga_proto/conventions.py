"""What both ends of the wire agree on besides the messages; runs in the server and in clients."""

from typing import Final

#: The service's full name, by which grpc.health.v1 knows it as well.
SERVICE: Final = "inference.GRPCInferenceService"
#: The largest message that gRPC can carry, in bytes; both ends allow it, both ways.
MAX_MESSAGE_BYTES: Final = 2**31 - 1
#: Where a server listens, and a client looks for one, unless told otherwise.
DEFAULT_GRPC_PORT: Final = 8001
#: Likewise for /metrics.
DEFAULT_HTTP_PORT: Final = 8000
#: Metadata that carries a bearer token.
AUTHORIZATION_KEY: Final = "authorization"
#: Parameter of a load: a ModelConfig as JSON, in the place of the model's own.
LOAD_CONFIG: Final = "config"
#: What a load's other parameters start with, before "<version>/<name>": each is a file of the model.
LOAD_FILE_PREFIX: Final = "file:"
#: Request parameter (bool) that asks for the server's own timings in the response's parameters, as
#: "quadriga_queue_ns" and so on; servers that do not know it leave it alone.
TIMINGS_PARAMETER: Final = "quadriga_timings"
#: Trailing metadata by which a server says when to try again, in milliseconds; below 0 or no number: not at all.
#: gRPC's own retry design (gRFC A6) calls it "grpc-retry-pushback-ms", but keys that start so are not for applications,
#: and some transports refuse them.
PUSHBACK_TRAILER: Final = "retry-pushback-ms"
