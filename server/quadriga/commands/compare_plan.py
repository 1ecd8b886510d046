"""What the options of `quadriga compare` ask for. Runs in the command's own process."""

import math
from collections.abc import Sequence
from typing import Any

import click

from quadriga.commands.connection import Target, first_token
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.contestants import parse_contestants
from quadriga_client.compare.likeness import Tolerance
from quadriga_client.compare.options import Access, CompareOptions
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.errors import LoadError


class Finite(click.FloatRange):
    """A number within a range that is neither infinite nor NaN, which no comparison with a range's ends would find."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """See the base class."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} came; expected a finite number.", param, ctx)
        return number


def parse_share(text: str) -> float:
    """A share of "5%" or "0.05".

    Raises:
        LoadError: The text is neither, or not from 0 to below 1.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise LoadError(f"{text!r} is no share; expected one from 0% to below 100%, as 5% or 0.05")
    return share


def parse_metrics(texts: Sequence[str], url: str) -> dict[str, str]:
    """Metrics pages by server, from [HOST:PORT=]URL; one without a server is that of `url`.

    Raises:
        LoadError: Two are of one server.
    """
    pages: dict[str, str] = {}
    for text in texts:
        server, separator, page = text.partition("=")
        place, page = (server, page) if separator else (url, text)
        if place in pages:
            raise LoadError(f"--metrics is given twice for {place}")
        pages[place] = page
    return pages


def options_of(
    models: tuple[str, ...], target: Target, old: Comparison | None, old_name: str, given: dict[str, Any]
) -> CompareOptions:
    """The comparison of a command line.

    Raises:
        click.UsageError: It cannot be.
        click.ClickException: The token file cannot be read.
    """
    if given["shapes"] and given["file"]:
        raise click.UsageError("--input says the shapes of the inputs; leave out --shape")
    try:
        return CompareOptions(
            contestants=parse_contestants(models, target.url),
            seconds=given["duration"],
            access=Access(
                timeout=target.timeout,
                tls=target.tls_options(),
                token=None if target.token_file is None else first_token(target.token_file),
                token_over_plaintext=target.token_over_plaintext,
            ),
            concurrencies=tuple(map(int, given["concurrency"])),
            rows=given["rows"],
            shapes=dict(given["shapes"]),
            file=given["file"],
            tolerance=Tolerance(absolute=given["atol"], relative=given["rtol"]),
            allow_different=given["allow_different"],
            one_awake=given["one_awake"],
            connections=given["connections"],
            processes=given["processes"],
            metrics=parse_metrics(given["metrics"], target.url),
            seed=given["seed"],
            against=old,
            against_name=old_name,
            tolerated=given["tolerated"],
        )
    except QuadrigaClientError as error:
        raise click.UsageError(str(error)) from None
