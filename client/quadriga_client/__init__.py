"""The client library: typed calls to a Quadriga server, or to any other that speaks the Open Inference Protocol.

    from quadriga_client import Client

    with Client("127.0.0.1:8001") as client:
        print(client.classify("digits_keras", "seven.png", top_k=3))

It needs grpcio, protobuf and numpy; Pillow where images are decoded or resized. It never imports the server. The errors
are drawn as a tree in `quadriga_client.errors`.
"""

from quadriga_client.aio import AsyncClient
from quadriga_client.client import Client
from quadriga_client.errors import QuadrigaClientError, RpcFailed
from quadriga_client.results import (
    Classification,
    InferResult,
    ModelMetadata,
    ModelStatus,
    ServerMetadata,
    TensorMetadata,
    Timings,
)
from quadriga_client.retry import RetryPolicy
from quadriga_client.statistics import ModelStatistics
from quadriga_client.tls import TlsOptions

__all__ = [
    "AsyncClient",
    "Classification",
    "Client",
    "InferResult",
    "ModelMetadata",
    "ModelStatistics",
    "ModelStatus",
    "QuadrigaClientError",
    "RetryPolicy",
    "RpcFailed",
    "ServerMetadata",
    "TensorMetadata",
    "Timings",
    "TlsOptions",
]
