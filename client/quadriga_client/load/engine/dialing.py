"""A socket connected to a target, by TLS where it is asked for. Generator processes."""

import contextlib
import os
import socket
import ssl
import tempfile
from pathlib import Path

from quadriga_client.errors import InputError
from quadriga_client.load.errors import LoadError
from quadriga_client.load.target import LoadTarget
from quadriga_client.tls import Pem, TlsOptions, read_pem


def dial(target: LoadTarget, seconds: float) -> socket.socket:
    """Connects to a target; the socket does not block afterwards.

    Raises:
        LoadError: Nobody listens there, or both sides cannot agree on TLS.
    """
    host, port = split_url(target.url)
    try:
        connected = socket.create_connection((host, port), timeout=seconds)
    except OSError as error:
        raise LoadError(f"cannot connect to {target.url}: {error.strerror or error}") from error
    with contextlib.ExitStack() as stack:
        stack.callback(connected.close)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.tls is not None:
            connected = encrypt(connected, target.url, target.tls, target.tls.authority or host)
            stack.callback(connected.close)
        connected.setblocking(False)
        stack.pop_all()
    return connected


def split_url(url: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; an IPv6 address stands in brackets.

    Raises:
        LoadError: It is something else.
    """
    host, _, port = url.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536 or "/" in host:
        raise LoadError(f"the load generator needs HOST:PORT; {url!r} came")
    return host.removeprefix("[").removesuffix("]"), int(port)


def encrypt(connected: socket.socket, url: str, tls: TlsOptions, name: str) -> ssl.SSLSocket:
    """Shakes hands.

    Raises:
        LoadError: A side does not trust the other one, or the server speaks no HTTP/2.
    """
    try:
        encrypted = _context(tls).wrap_socket(connected, server_hostname=name)
    except (OSError, ValueError) as error:
        raise LoadError(f"no TLS with {url}: {error}") from error
    if encrypted.selected_alpn_protocol() != "h2":
        encrypted.close()
        raise LoadError(f"the server at {url} speaks TLS, but does not agree to HTTP/2 (ALPN h2)")
    return encrypted


def _context(tls: TlsOptions) -> ssl.SSLContext:
    """What TLS asks of the server, and shows it.

    Raises:
        LoadError: A PEM file cannot be read, or holds nothing that can be used.
    """
    try:
        roots = read_pem(tls.root_certificates)
        context = ssl.create_default_context(cadata=roots.decode() if roots is not None else None)
        context.set_alpn_protocols(["h2"])
        if tls.client_chain is not None and tls.client_key is not None:
            with tempfile.TemporaryDirectory(prefix="quadriga-load-") as folder:
                chain = _file(tls.client_chain, Path(folder, "chain.pem"))
                context.load_cert_chain(chain, _file(tls.client_key, Path(folder, "key.pem")))
    except (InputError, OSError, ValueError) as error:
        raise LoadError(f"the files for TLS cannot be used: {error}") from error
    return context


def _file(pem: Pem, spare: Path) -> Path:
    """The file that holds a PEM text: the user's, or a spare one that only this user can read."""
    if not isinstance(pem, bytes):
        return Path(pem)
    with open(os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    return spare
