"""A command's connection to a server, with its failures as the one line that the user reads. Runs in the command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from quadriga.addresses import DEFAULT_GRPC_PORT, DEFAULT_HOST, join_address
from quadriga_client import Client, QuadrigaClientError, RetryPolicy
from quadriga_client.errors import DeadlineExceeded, Unavailable

DEFAULT_URL: Final = join_address(DEFAULT_HOST, DEFAULT_GRPC_PORT)
DEFAULT_TIMEOUT: Final = 60.0
#: Seconds to find out whether a server is there at all.
_PROBE_SECONDS: Final = 5.0


def url_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The `--url` of every client command."""
    return click.option(
        "--url", default=DEFAULT_URL, envvar="QUADRIGA_URL", show_envvar=True, metavar="HOST:PORT",
        help="gRPC address of the server.",
    )  # fmt: skip


def timeout_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The `--timeout` of every client command."""
    return click.option(
        "--timeout", type=click.FloatRange(min=0, min_open=True), default=DEFAULT_TIMEOUT, help="Seconds per call."
    )


@contextmanager
def connection(url: str, timeout: float) -> Iterator[Client]:
    """A client of a server that answers.

    Raises:
        click.ClickException: No server answers, or something that the client refuses or the server fails.
    """
    try:
        with Client(url, timeout=timeout, retry=RetryPolicy(attempts=3)) as client:
            try:
                client.live(timeout=min(timeout, _PROBE_SECONDS))
            except (Unavailable, DeadlineExceeded):
                raise click.ClickException(f"no server answers at {url}; start one with `quadriga serve`") from None
            yield client
    except DeadlineExceeded:
        raise click.ClickException(f"no answer within {timeout:g} s; --timeout allows more") from None
    except QuadrigaClientError as error:
        raise click.ClickException(str(error)) from None
