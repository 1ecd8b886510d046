"""TLS options of a channel, as a value; runs in the user's process."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from quadriga_client.errors import InputError

#: PEM text, or the file that holds it.
Pem = str | os.PathLike[str] | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """How a client proves the server, and itself. Each PEM is a path, or the text itself as bytes.

    Attributes:
        root_certificates: Authorities that may have signed the server's certificate; None is gRPC's own list.
        client_key: The client's private key, where the server asks for one.
        client_chain: The certificate that belongs to the key, and those it was signed with.
        authority: The name to expect in the server's certificate, where it is not the host of the URL.

    Raises:
        InputError: A key without a chain, or a chain without a key.
    """

    root_certificates: Pem | None = None
    client_key: Pem | None = field(default=None, repr=False)
    client_chain: Pem | None = None
    authority: str = ""

    def __post_init__(self) -> None:
        if (self.client_key is None) != (self.client_chain is None):
            raise InputError("TlsOptions needs client_key and client_chain together, or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """The credentials of a channel; files are read now.

        Raises:
            InputError: A file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=read_pem(self.root_certificates),
            private_key=read_pem(self.client_key),
            certificate_chain=read_pem(self.client_chain),
        )


def read_pem(pem: Pem | None) -> bytes | None:
    """The PEM text; None where none is given."""
    if pem is None or isinstance(pem, bytes):
        return pem
    try:
        return Path(pem).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the PEM file {os.fspath(pem)}: {error.strerror or error}") from error
