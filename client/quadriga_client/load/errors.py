"""What goes wrong with a load test besides the calls themselves.

QuadrigaClientError
└── LoadError           no load can be made, or none that says anything: the text tells what to do
"""

from quadriga_client.errors import QuadrigaClientError


class LoadError(QuadrigaClientError):
    """No load can be made, or none that says anything."""
