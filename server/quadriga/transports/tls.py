"""TLS of the gRPC port: its files, checked before gRPC sees them, and read anew when they change. Server process.

gRPC's core takes certificates that do not fit their key, and then fails each handshake without a word; OpenSSL, by way
of Python's ssl, tells what is wrong with them at the start.
"""

import logging
import re
import ssl
from pathlib import Path
from typing import Final, NamedTuple

import grpc

from quadriga.errors import ConfigError
from quadriga.watched_files import WatchedFiles

log = logging.getLogger("quadriga.transports.tls")

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----")
_LOCATION: Final = re.compile(r"\s*\(_ssl\.c:\d+\)")


class TlsFiles(NamedTuple):
    """PEM files.

    Attributes:
        certificate: The server's, and those it was signed with.
        key: That belongs to it.
        client_ca: Authorities of clients' certificates; None: clients need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None


class ServerCertificates:
    """The credentials of a port, which follow their files."""

    def __init__(self, files: TlsFiles) -> None:
        """Reads the files.

        Raises:
            ConfigError: One cannot be read, is not what it should be, or does not fit the others.
        """
        self._files = files
        self._watched = WatchedFiles([path for path in files if path is not None])
        self._first = read_certificates(files)

    def credentials(self) -> grpc.ServerCredentials:
        """For a port; gRPC asks at every handshake whether there is something newer."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._newer,  # type: ignore[arg-type]  # None is "nothing newer", which the stub does not know
            require_client_authentication=self._files.client_ca is not None,
        )

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """The files' present content, where it has changed and can be used; called in a thread of gRPC's."""
        if not self._watched.changed():
            return None
        try:
            certificates = read_certificates(self._files)
        except ConfigError as error:
            log.error("the certificates read before stay in use: %s", error)
            return None
        log.info("read new certificates from %s", self._files.certificate)
        return certificates


def read_certificates(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    """What the files hold.

    Raises:
        ConfigError: As `ServerCertificates` says.
    """
    certificate, key = _read(files.certificate, "certificate"), _read(files.key, "key")
    client_ca = None if files.client_ca is None else _read(files.client_ca, "client CA")
    if not _CERTIFICATE.search(certificate):
        raise ConfigError(f"TLS certificate {files.certificate} holds no PEM certificate")
    _check_pair(files)
    if files.client_ca is not None and client_ca is not None:
        _check_authorities(files.client_ca, client_ca)
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=client_ca)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"TLS {what} {path} cannot be read: {error.strerror or error}") from None


def _check_pair(files: TlsFiles) -> None:
    locked = False

    def password() -> str:
        """Without it, OpenSSL would ask on the terminal."""
        nonlocal locked
        locked = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key, password)
    except OSError as error:
        reason = "the key is locked by a password; take one without" if locked else _reason(error)
        raise ConfigError(
            f"TLS certificate {files.certificate} and key {files.key} cannot be used together: {reason}"
        ) from None


def _check_authorities(path: Path, content: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:  # ValueError: it is empty, or no text
        reason = _reason(error) if isinstance(error, ssl.SSLError) else "it is no PEM text"
        raise ConfigError(f"TLS client CA {path} holds no PEM certificate that can be used: {reason}") from None


def _reason(error: OSError) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key belongs to another certificate"
    return _LOCATION.sub("", error.strerror or str(error))
