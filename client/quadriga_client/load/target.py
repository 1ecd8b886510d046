"""What a generator sends, and where to. Pure."""

from dataclasses import dataclass
from typing import Final

from quadriga_client.rpcs import METHODS
from quadriga_client.tls import TlsOptions

MODEL_INFER: Final = METHODS["ModelInfer"].path


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTarget:
    """A unary rpc of a server, with the requests that are sent to it in turn.

    Attributes:
        url: HOST:PORT.
        requests: Serialised messages, at least one; without gRPC's prefix of five bytes.
        timeout: Seconds that a request may take before it is given up.
        method: The rpc's path.
        metadata: Goes with each call, in lower case: a token, for example.
        tls: How TLS is spoken; None: not at all.
    """

    url: str
    requests: tuple[bytes, ...]
    timeout: float
    method: str = MODEL_INFER
    metadata: tuple[tuple[str, str], ...] = ()
    tls: TlsOptions | None = None
