"""A command's connection to a server, with its failures as the one line that the user reads. Runs in the command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from quadriga.addresses import DEFAULT_HOST, join_address
from quadriga.errors import ConfigError
from quadriga.tokens import read_tokens
from quadriga_client import Client, QuadrigaClientError, RetryPolicy, TlsOptions
from quadriga_client.client import DEFAULT_TIMEOUT
from quadriga_client.errors import DeadlineExceeded, Unavailable
from quadriga_client.tokens import token_metadata
from quadriga_proto.conventions import DEFAULT_GRPC_PORT

DEFAULT_URL: Final = join_address(DEFAULT_HOST, DEFAULT_GRPC_PORT)
#: Seconds to find out whether a server is there at all.
_PROBE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server that a command talks to, and how.

    Attributes:
        url: HOST:PORT.
        timeout: Seconds per call.
        token_file: Whose first token goes with each call; None: none does.
        token_over_plaintext: Whether it may go to another machine without TLS.
        tls: Whether the server speaks TLS; any of the files says so as well.
        tls_ca: PEM file of the authorities to trust; None: gRPC's own list.
        tls_certificate: PEM file by which the client proves itself.
        tls_key: PEM file of its key.
        tls_name: The name to expect in the server's certificate; empty: the host of the URL.
    """

    url: str
    timeout: float
    token_file: Path | None = None
    token_over_plaintext: bool = False
    tls: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_name: str = ""

    def client(self) -> Client:
        """A client for it.

        Raises:
            QuadrigaClientError: The files or the URL cannot be used.
            click.ClickException: The token file cannot.
        """
        return Client(
            self.url,
            tls=self.tls_options(),
            timeout=self.timeout,
            retry=RetryPolicy(attempts=3),
            metadata=self.call_metadata(),
        )

    def call_metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call.

        Raises:
            InputError: The token may not go there.
            click.ClickException: The token file cannot be used.
        """
        if self.token_file is None:
            return ()
        return token_metadata(
            self.url,
            first_token(self.token_file),
            encrypted=self.tls_options() is not None,
            over_plaintext=self.token_over_plaintext,
        )

    def tls_options(self) -> TlsOptions | None:
        """How TLS is to be spoken; None: not at all."""
        if not (self.tls or self.tls_ca or self.tls_certificate or self.tls_key or self.tls_name):
            return None
        return TlsOptions(
            root_certificates=self.tls_ca,
            client_key=self.tls_key,
            client_chain=self.tls_certificate,
            authority=self.tls_name,
        )


def first_token(path: Path) -> str:
    """The first token of a file in the server's format.

    Raises:
        click.ClickException: It cannot be read, or holds no token, or something else.
    """
    try:
        return read_tokens(path)[0]
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every client command; they arrive as one argument, `target`."""

    @wraps(command)
    def collect(**values: Any) -> None:  # noqa: ANN401 - click passes what the options declare
        target = Target(**{field.name: values.pop(field.name) for field in fields(Target)})
        command(target=target, **values)

    wrapped: Callable[..., None] = collect
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_FILE: Final = click.Path(path_type=Path)
_OPTIONS: Final = (
    click.option(
        "--url", default=DEFAULT_URL, envvar="QUADRIGA_URL", show_envvar=True, metavar="HOST:PORT",
        help="gRPC address of the server.",
    ),
    click.option(
        "--timeout", type=click.FloatRange(min=0, min_open=True), default=DEFAULT_TIMEOUT, help="Seconds per call."
    ),
    click.option(
        "--token-file", type=_FILE, envvar="QUADRIGA_TOKEN_FILE", show_envvar=True,
        help="Its first token goes with each call.",
    ),
    click.option(
        "--token-over-plaintext", is_flag=True, help="Send the token to another machine without TLS, for all to read."
    ),
    click.option("--tls", is_flag=True, help="The server speaks TLS; so does any option below."),
    click.option("--tls-ca", type=_FILE, help="PEM file of the authorities to trust, rather than gRPC's own list."),
    click.option("--tls-certificate", type=_FILE, help="PEM file of the client's own certificate."),
    click.option("--tls-key", type=_FILE, help="PEM file of its key."),
    click.option("--tls-name", default="", help="Name in the server's certificate, where it is not the URL's host."),
)  # fmt: skip


@contextmanager
def connection(target: Target) -> Iterator[Client]:
    """A client of a server that answers.

    Raises:
        click.ClickException: No server answers, or something that the client refuses or the server fails.
    """
    try:
        with target.client() as client:
            try:
                client.live(timeout=min(target.timeout, _PROBE_SECONDS))
            except (Unavailable, DeadlineExceeded):
                raise click.ClickException(_no_answer(target)) from None
            yield client
    except DeadlineExceeded:
        raise click.ClickException(f"no answer within {target.timeout:g} s; --timeout allows more") from None
    except QuadrigaClientError as error:
        raise click.ClickException(str(error)) from None


def _no_answer(target: Target) -> str:
    if target.tls_options() is None:
        return f"no server answers at {target.url}; start one with `quadriga serve`"
    return f"no server answers at {target.url} by TLS; is there one, does it speak TLS, and do the certificates fit?"
