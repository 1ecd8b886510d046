"""Requests that were refused since workers were lost with them: the same bytes again cost none. Pure. Server process.

It takes two offences: workers are also killed from outside, and clients send the same bytes again and again. Nothing is
computed of a request while nothing is remembered, and of others next to nothing then: a few bytes tell them apart.
"""

from collections.abc import Hashable
from hashlib import blake2b
from typing import Final, NamedTuple

from quadriga.requests import Request

#: How long an offence is remembered.
MEMORY_NS: Final = 300_000_000_000
MOST: Final = 256
OFFENCES: Final = 2
_SAMPLE_BYTES: Final = 64


class Offender(NamedTuple):
    """What is remembered of a request."""

    offences: int
    until_ns: int
    sample: Hashable


class GuiltyRequests:
    """Those of one model version; times are nanoseconds of any monotonic clock."""

    def __init__(self) -> None:
        """Knows of none."""
        self._offenders: dict[bytes, Offender] = {}  # by digest, the latest offence last
        self._samples: frozenset[Hashable] = frozenset()

    def __len__(self) -> int:
        return len(self._offenders)

    def remember(self, request: Request, now: int) -> None:
        """It was found guilty."""
        digest = _digest(request)
        before = self._offenders.pop(digest, None)
        offences = 1 if before is None else before.offences + 1
        if len(self._offenders) >= MOST:
            del self._offenders[next(iter(self._offenders))]
        self._offenders[digest] = Offender(offences, now + MEMORY_NS, _sample(request))
        self._take_samples()

    def knows(self, request: Request, now: int) -> bool:
        """Whether it is to be refused without being tried."""
        past = [digest for digest, offender in self._offenders.items() if offender.until_ns <= now]
        if past:
            for digest in past:
                del self._offenders[digest]
            self._take_samples()
        if not self._samples or _sample(request) not in self._samples:
            return False
        known = self._offenders.get(_digest(request))
        return known is not None and known.offences >= OFFENCES

    def _take_samples(self) -> None:
        self._samples = frozenset(offender.sample for offender in self._offenders.values())


def _sample(request: Request) -> Hashable:
    """What tells nearly all requests apart."""
    middles = [None if part is None else (len(part) - _SAMPLE_BYTES) // 2 for part in request.data]
    return request.shapes, *(
        None if part is None or middle is None else bytes(part[max(middle, 0) :][:_SAMPLE_BYTES])
        for part, middle in zip(request.data, middles, strict=True)
    )


def _digest(request: Request) -> bytes:
    digest = blake2b(repr(request.shapes).encode(), digest_size=16)
    for part in request.data:
        if part is not None:
            digest.update(part)
    return digest.digest()
