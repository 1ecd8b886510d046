"""gRPC's status codes by number and by name. Pure.

The numbers are those of gRPC's doc/statuscodes.md.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import grpc

OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 0, 1, 2, 4, 5, 7, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16
_NAMES: Final[dict[int, str]] = {code.value[0]: code.name for code in grpc.StatusCode}


def code_name(code: int) -> str:
    """A status code's name, "NOT_FOUND"; what is no code of gRPC's is UNKNOWN."""
    return _NAMES.get(code, _NAMES[UNKNOWN])


def counts_by_name(counts: Mapping[int, int]) -> dict[str, int]:
    """Code -> how many, with the codes' names; in the order of the codes."""
    by_name: Counter[str] = Counter()
    for code, count in sorted(counts.items()):
        by_name[code_name(code)] += count
    return dict(by_name)
