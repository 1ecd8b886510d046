"""What goes wrong with a load test besides the calls themselves.

QuadrigaClientError
└── LoadError           no load can be made, or none that says anything: the text tells what to do
    ├── ProtocolError     the other side does not keep to HTTP/2
    └── ConnectionLost    the server closed a connection, or it broke
        └── SentAway        the server ended it with an error of HTTP/2's
"""

from quadriga_client.errors import QuadrigaClientError


class LoadError(QuadrigaClientError):
    """No load can be made, or none that says anything."""


class ProtocolError(LoadError):
    """The other side of a connection does not keep to HTTP/2."""


class ConnectionLost(LoadError):
    """The server closed a connection, or it broke."""


class SentAway(ConnectionLost):
    """The server ended a connection with an error of HTTP/2's: it takes the client for a bad one."""
