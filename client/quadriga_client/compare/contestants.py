"""Who is compared: models, and the servers that they are on. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from quadriga_client.compare.errors import CompareError
from quadriga_client.rpcs import check_url

FORM: Final = "[NAME=]MODEL[:VERSION][@HOST:PORT]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A model of a server.

    Attributes:
        name: By which reports call it.
        model: As the server has it.
        version: Empty is the newest that is ready.
        url: HOST:PORT of its server.
    """

    name: str
    model: str
    version: str
    url: str


def parse_contestants(texts: Sequence[str], url: str) -> tuple[Contestant, ...]:
    """The contestants of a command line.

    The same model may be there twice under two names: what differs then is what the comparison itself brings.

    Args:
        texts: Each of the form `FORM`.
        url: The server of those that name none.

    Raises:
        CompareError: They are fewer than two, two go by the same name, or one is of another form.
        InputError: A URL is none.
    """
    if len(texts) < 2:
        raise CompareError(f"a comparison has at least two models, got {len(texts)}; give each as {FORM}")
    contestants = tuple(parse_contestant(text, url) for text in texts)
    for index, contestant in enumerate(contestants):
        for other in contestants[:index]:
            if contestant.name == other.name:
                raise CompareError(f"two contestants are named {other.name!r}; name one of them: NAME={texts[index]}")
    return contestants


def parse_contestant(text: str, url: str) -> Contestant:
    """One contestant of a command line; without a NAME, it goes by what the command line says of it.

    A version is a number, so that a colon may be part of a model's name.

    Raises:
        CompareError: The text is of another form.
        InputError: Its URL is none.
    """
    name, separator, rest = text.partition("=")
    if not separator:
        name, rest = text, text
    model, at, own_url = rest.partition("@")
    version = ""
    before, colon, after = model.rpartition(":")
    if colon and after.isdecimal():
        model, version = before, after
    if not name or not model or (at and not own_url):
        raise CompareError(f"a model is given as {FORM}, got {text!r}")
    return Contestant(name=name, model=model, version=version, url=check_url(own_url or url))
