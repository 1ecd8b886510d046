"""What a generator process learned of each request, in arrays. Pure.

All times are of the machine's monotonic clock (`time.monotonic_ns`), which all its processes share.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
#: The codes of gRPC, whose 0 is OK.
Codes = npt.NDArray[np.uint8]


class Samples(NamedTuple):
    """Requests that ended, in the order of their ends where they are of one process; the arrays are of one length.

    Attributes:
        due: When each should have been sent, in ns. In a closed loop: when its caller's answer before was there.
        begun: When the generator came to it, in ns; `begun - due` is how late the generator itself was.
        ended: When its answer was there, or it was given up, in ns.
        codes: gRPC's status codes.
    """

    due: Times
    begun: Times
    ended: Times
    codes: Codes

    @classmethod
    def none(cls) -> "Samples":
        """No requests."""
        no_times = np.empty(0, np.int64)
        return cls(no_times, no_times, no_times, np.empty(0, np.uint8))

    @classmethod
    def joined(cls, parts: "Sequence[Samples]") -> "Samples":
        """The requests of all parts."""
        if not parts:
            return cls.none()
        due, begun, ended, codes = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(due, begun, ended, codes)

    def where(self, mask: npt.NDArray[np.bool_]) -> "Samples":
        """Those that `mask`, [n], picks."""
        return Samples(self.due[mask], self.begun[mask], self.ended[mask], self.codes[mask])

    def in_order(self) -> "Samples":
        """All of them, in the order in which they were due."""
        order = np.argsort(self.due, kind="stable")
        return Samples(self.due[order], self.begun[order], self.ended[order], self.codes[order])
