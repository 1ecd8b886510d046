"""The file of bearer tokens: one token a line, read anew when the file changes. Server process.

The server keeps tokens as SHA-256 digests and compares them in constant time; a command sends the first one. Nothing of
a token is logged or told.
"""

import hmac
import logging
import re
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from quadriga.errors import ConfigError
from quadriga.watched_files import WatchedFiles

log = logging.getLogger("quadriga.tokens")

#: What RFC 6750 lets a bearer token consist of.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
#: More is no list of tokens, and every call is compared with all of them.
_MOST_BYTES: Final = 1_048_576


class TokenFile:
    """The tokens that are valid now."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads the file.

        Raises:
            ConfigError: It cannot be read, or holds no token, or something else.
        """
        self._path = path
        self._files = WatchedFiles((path,), clock)
        self._digests = _digests(read_tokens(path))

    def admits(self, token: str) -> bool:
        """Whether a token is one of the file's. All of them are compared, whichever matches."""
        if self._files.changed():
            self._reload()
        digest = sha256(token.encode(errors="replace")).digest()
        return sum([hmac.compare_digest(digest, known) for known in self._digests]) > 0

    def _reload(self) -> None:
        try:
            self._digests = _digests(read_tokens(self._path))
        except ConfigError as error:
            log.error("the tokens read before stay valid: %s", error)
        else:
            log.info("read %d tokens from %s", len(self._digests), self._path)


def read_tokens(path: Path) -> list[str]:
    """A file's tokens, of which there is at least one; blank lines and those that start with # are skipped.

    Raises:
        ConfigError: The file cannot be read, or holds no token, or something else; names the line and never shows it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"token file {path} cannot be read: {error.strerror or error}") from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"token file {path} has more than {_MOST_BYTES} bytes; expected one token a line")
    tokens = []
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not _TOKEN.fullmatch(token):
            raise ConfigError(
                f"token file {path}: line {number} is no token; expected letters, digits and -._~+/ alone, then ="
            )
        tokens.append(token)
    if not tokens:
        raise ConfigError(f"token file {path} holds no token; write one a line")
    return tokens


def _digests(tokens: list[str]) -> tuple[bytes, ...]:
    return tuple(sha256(token.encode()).digest() for token in tokens)
