"""What a comparison is to be. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quadriga_client.client import Client
from quadriga_client.compare.blocks import Plan, plan
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.likeness import Tolerance
from quadriga_client.load.target import LoadTarget
from quadriga_client.tls import TlsOptions
from quadriga_client.tokens import token_metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the contestants' servers are reached, all in the same way.

    Attributes:
        timeout: Seconds that a call may take.
        tls: How TLS is spoken; None: not at all.
        token: Goes with each call; None: none does.
        token_over_plaintext: Whether it may go to another machine without TLS.
    """

    timeout: float = 60.0
    tls: TlsOptions | None = None
    token: str | None = field(default=None, repr=False)
    token_over_plaintext: bool = False

    def client(self, url: str) -> Client:
        """A client of a server.

        Raises:
            InputError: It may not have the token, or a file of TLS cannot be read.
        """
        return Client(
            url,
            tls=self.tls,
            timeout=self.timeout,
            token=self.token,
            token_over_plaintext=self.token_over_plaintext,
        )

    def target(self, url: str, requests: tuple[bytes, ...]) -> LoadTarget:
        """Where requests go.

        Raises:
            InputError: The server may not have the token.
        """
        token = token_metadata(
            url, self.token, encrypted=self.tls is not None, over_plaintext=self.token_over_plaintext
        )
        metadata = tuple((key, str(value)) for key, value in token)
        return LoadTarget(url=url, requests=requests, timeout=self.timeout, metadata=metadata, tls=self.tls)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """A comparison.

    Attributes:
        contestants: At least two; the others' answers are held to the first's.
        seconds: Timed at each level, of all contestants together.
        access: To their servers.
        concurrencies: Levels: callers in a closed loop.
        rows: Of a request.
        shapes: Sizes by input of the first contestant, where it leaves them open.
        file: Where inputs are read; None: they are random numbers.
        tolerance: Of the agreement.
        allow_different: Whether contestants are timed that do not agree.
        one_awake: Whether only one of them is loaded at a time.
        connections: Of each contestant.
        processes: Generator processes of each contestant.
        metrics: By server's URL, where its metrics page is; of others it is looked for.
        seed: Of all random numbers.
        against: An older report; None: there is none.
        against_name: Its file.
        tolerated: The share by which a figure may be worse than in the older report.

    Raises:
        CompareError: A number is out of its range.
    """

    contestants: tuple[Contestant, ...]
    seconds: float
    access: Access = field(default_factory=Access)
    concurrencies: tuple[int, ...] = (8,)
    rows: int = 1
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    file: Path | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    allow_different: bool = False
    one_awake: bool = False
    connections: int = 4
    processes: int = 1
    metrics: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    against: Comparison | None = None
    against_name: str = ""
    tolerated: float = 0.05

    def __post_init__(self) -> None:
        """Refuses numbers out of their ranges."""
        if not 0 < self.seconds < math.inf:
            raise CompareError(f"a level is timed for some seconds, got {self.seconds:g}")
        self.plan()
        if self.rows < 1:
            raise CompareError(f"a request has at least one row, got {self.rows}")
        if not self.concurrencies or min(self.concurrencies) < 1:
            raise CompareError(f"a level has at least one caller, got {self.concurrencies}")
        if len(set(self.concurrencies)) < len(self.concurrencies):
            raise CompareError(f"a level is given twice: {', '.join(map(str, self.concurrencies))}")
        if self.processes < 1 or self.connections < self.processes:
            raise CompareError(
                f"each of the {self.processes} processes needs a connection, got {self.connections} connections"
            )
        for tolerance in (self.tolerance.absolute, self.tolerance.relative):
            if not 0 <= tolerance < math.inf:
                raise CompareError(f"a tolerance is a number from 0, got {tolerance:g}")
        if not 0 <= self.tolerated < 1:
            raise CompareError(f"a figure may get worse by a share from 0 to below 1, got {self.tolerated:g}")
        strangers = set(self.metrics) - {contestant.url for contestant in self.contestants}
        if strangers:
            raise CompareError(f"a metrics page is given of {', '.join(sorted(strangers))}, where no contestant is")

    def plan(self) -> Plan:
        """How a level's time is divided among contestants that answer quickly.

        Raises:
            CompareError: It is too short.
        """
        return plan([0.0] * len(self.contestants), self.seconds)
