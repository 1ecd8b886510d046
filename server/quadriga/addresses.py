"""Where the server listens: the default, and taking an address, with errors that an operator can act on.

Server process; the default also in client commands.
"""

import ipaddress
import os
import socket
from typing import Final

from quadriga.errors import ConfigError

DEFAULT_HOST: Final = "127.0.0.1"


def listen(host: str, port: int, flag: str) -> socket.socket:
    """A listening socket; `flag` is what the operator changes to choose another port.

    Raises:
        ConfigError: The address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        # Python's own text repeats the address.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}; choose another with {flag} or --host") from error


def join_address(host: str, port: int) -> str:
    """HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether an address that is listened on can be reached from this machine alone; a name counts as what it says."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
