"""The service's rpcs, and the channel that carries them; what the two clients share about gRPC. User's process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.message import Message

from quadriga_client.errors import InputError
from quadriga_client.tls import TlsOptions
from quadriga_proto import inference_pb2 as pb

#: A server that has just started, or restarts, is found within this time.
_RECONNECT_MS: Final = 100
_MAX_RECONNECT_MS: Final = 2_000

ChannelOptions = tuple[tuple[str, int | str], ...]


@dataclass(frozen=True, slots=True)
class Rpc:
    """One call to make: the method's name, and the request."""

    method: str
    request: Message


@dataclass(frozen=True, slots=True)
class Method:
    """A unary rpc: its path, and what reads its response."""

    path: str
    parse: Callable[[bytes], Message]


def methods() -> Mapping[str, Method]:
    """The service's rpcs by name, read from its descriptor."""
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    return {
        method.name: Method(f"/{service.full_name}/{method.name}", getattr(pb, method.output_type.name).FromString)
        for method in service.methods
    }


METHODS: Final = methods()


def serialize(request: Message) -> bytes:
    """The bytes of a request of any rpc."""
    return request.SerializeToString()


def check_url(url: str) -> str:
    """The URL as gRPC takes it.

    Raises:
        InputError: It is not HOST:PORT, nor one of gRPC's own schemes (unix:, dns:, ipv4:, ipv6:).
    """
    if url.startswith(("http://", "https://", "grpc://", "grpcs://")):
        raise InputError(f"a URL is HOST:PORT without a scheme, got {url!r}; TLS is switched on by TlsOptions")
    if not url.startswith("unix:") and not url.rpartition(":")[2].isdecimal():
        raise InputError(f"a URL is HOST:PORT, got {url!r}, which names no port")
    return url


def host_of(url: str) -> str:
    """The host that a URL leads to, an IPv6 address without its brackets; empty for a Unix socket."""
    if url.startswith(("unix:", "unix-abstract:")):
        return ""
    host = url.rpartition(":")[0].rpartition("/")[2]
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        host = host.removeprefix(scheme)
    return host.removeprefix("[").removesuffix("]")


def channel_options(url: str, max_message_bytes: int, tls: TlsOptions | None) -> ChannelOptions:
    """What a channel needs besides its URL."""
    options: ChannelOptions = (
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
    )
    if tls is not None and tls.authority:
        options += (("grpc.ssl_target_name_override", tls.authority),)
    elif "," in url:  # gRPC would name all addresses as the server's, which is no name that every server takes
        options += (("grpc.default_authority", url.partition(",")[0].partition(":")[2]),)
    return options


def open_channel(url: str, max_message_bytes: int, tls: TlsOptions | None) -> grpc.Channel:
    """A channel; it connects with the first call.

    Raises:
        InputError: The URL is none, or a file of `tls` cannot be read.
    """
    url = check_url(url)
    options = channel_options(url, max_message_bytes, tls)
    if tls is None:
        return grpc.insecure_channel(url, options)
    return grpc.secure_channel(url, tls.credentials(), options)
