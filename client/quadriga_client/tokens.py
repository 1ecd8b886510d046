"""Bearer tokens: the metadata that carries one, and where it may go. User's process."""

import ipaddress
import re
from typing import Final

from quadriga_client.errors import InputError
from quadriga_client.rpcs import host_of
from quadriga_proto.conventions import AUTHORIZATION_KEY

_TOKEN: Final = re.compile(r"[!-~]+")


def token_metadata(
    url: str, token: str | None, *, encrypted: bool, over_plaintext: bool
) -> tuple[tuple[str, str], ...]:
    """What goes with each call of a client with a token; nothing without one.

    Args:
        url: Of the server.
        token: As the server's file has it.
        encrypted: Whether TLS carries the calls.
        over_plaintext: Whether the user allows what is refused otherwise.

    Raises:
        InputError: The token is none, or everybody on the way to the server could read it.
    """
    if token is None:
        return ()
    if not _TOKEN.fullmatch(token):
        raise InputError(
            "the token is empty, or has blanks or letters beyond ASCII; give it as the server's file has it"
        )
    if not (encrypted or over_plaintext or is_local(url)):
        raise InputError(
            f"the token would go to {url} in plain text; use TlsOptions, or allow it with token_over_plaintext=True"
        )
    return ((AUTHORIZATION_KEY, f"Bearer {token}"),)


def is_local(url: str) -> bool:
    """Whether a URL leads to this machine: a Unix socket, localhost, or a loopback address."""
    if url.startswith(("unix:", "unix-abstract:")):
        return True
    host = host_of(url)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
