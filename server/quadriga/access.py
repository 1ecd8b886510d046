"""Who may call which rpc: groups of rpcs that are open, and bearer tokens for the rest. Server process.

An rpc of an open group needs no token; any other needs a valid one, and where there are no tokens it is closed. Where
every group is open there is no guard, and a call passes no check.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from quadriga.config import GROUPS, Group, ServerConfig
from quadriga.errors import AccessDenied, RequestError, Unauthenticated
from quadriga.tokens import TokenFile
from quadriga_proto.conventions import AUTHORIZATION_KEY

#: Before the token.
_SCHEME: Final = "bearer"

_METHODS: Final[dict[str, Group]] = {
    "ServerLive": "health",
    "ServerReady": "health",
    "ModelReady": "health",
    "ModelInfer": "inference",
    "ModelStreamInfer": "inference",
    "ServerMetadata": "metadata",
    "ModelMetadata": "metadata",
    "ModelConfig": "metadata",
    "ModelStatistics": "metadata",
    "RepositoryIndex": "metadata",
}
_SERVICES: Final[dict[str, Group]] = {
    "grpc.health.v1.Health": "health",
    "grpc.reflection.v1.ServerReflection": "metadata",
    "grpc.reflection.v1alpha.ServerReflection": "metadata",
}


def group_of(path: str) -> Group:
    """The group of an rpc, by its path "/SERVICE/METHOD"; what is in no other list is model control."""
    _, service, method = path.split("/", 2)
    return _SERVICES.get(service) or _METHODS.get(method, "model-control")


class Guard:
    """Decides which calls may pass.

    Attributes:
        refused: Calls turned away, by gRPC code and reason.
    """

    def __init__(
        self, open_groups: tuple[Group, ...], tokens: TokenFile | None, refused: Counter[tuple[str, str]]
    ) -> None:
        """Guards all but the open groups; `tokens` None closes them."""
        self._open = frozenset(open_groups)
        self._tokens = tokens
        self.refused = refused

    def is_open(self, path: str) -> bool:
        """Whether an rpc needs no token."""
        return group_of(path) in self._open

    def refusal(self, path: str, metadata: Mapping[str, str]) -> RequestError | None:
        """Why a call may not pass, counted; None where it may."""
        error = self._check(path, metadata)
        if error is not None:
            self.refused[error.code, error.reason] += 1
        return error

    def _check(self, path: str, metadata: Mapping[str, str]) -> RequestError | None:
        group = group_of(path)
        if group in self._open:
            return None
        if self._tokens is None:
            return AccessDenied(f"{path} is closed; the server's operator opens it with --open {group} or --token-file")
        scheme, _, token = metadata.get(AUTHORIZATION_KEY, "").partition(" ")
        if not token:
            return Unauthenticated(f"{path} needs a token; send the metadata '{AUTHORIZATION_KEY}: Bearer TOKEN'")
        if scheme.lower() != _SCHEME:
            return Unauthenticated(f"{path} needs '{AUTHORIZATION_KEY}: Bearer TOKEN'; another scheme came")
        if not self._tokens.admits(token.strip()):
            return Unauthenticated(f"{path} needs a token that is in the server's file; the one that came is not")
        return None


def make_guard(config: ServerConfig, refused: Counter[tuple[str, str]]) -> Guard | None:
    """The guard that the configuration asks for; None where everything is open.

    Args:
        config: Token file and open groups.
        refused: Where refusals are counted.

    Raises:
        ConfigError: The token file cannot be used.
    """
    tokens = None if config.token_file is None else TokenFile(config.token_file)
    open_groups = config.open_groups or (GROUPS if tokens is None else ("health",))
    return None if set(open_groups) == set(GROUPS) else Guard(open_groups, tokens, refused)
