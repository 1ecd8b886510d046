"""What a generator saw, packed as it happens and sent to the command's process now and then. Generator processes.

Neither objects nor locks: a sample is 25 bytes in an array, and what the pipe does not take at once waits.
"""

from typing import Final

from quadriga_client.load.engine.child import Parent
from quadriga_client.load.engine.messages import RECORD, Kind

MOST_RECORDS: Final = 4096


class Recorder:
    """Samples on their way."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._buffer = bytearray(RECORD.size * MOST_RECORDS)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._pack = RECORD.pack_into

    def add(self, due: int, begun: int, ended: int, code: int) -> None:
        """A sample; see `samples.Samples`."""
        self._pack(self._buffer, self._filled, due, begun, ended, code)
        self._filled += RECORD.size
        if self._filled == len(self._buffer):
            self.ship(0)

    def ship(self, until_ns: int) -> None:
        """Sends what there is, and that it is all that ended until then."""
        self._parent.report(Kind.SAMPLES, until_ns, self._view[: self._filled])
        self._filled = 0
