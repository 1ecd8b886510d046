"""What goes through the pipes of generators."""

import numpy as np

from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.engine.messages import (
    RECORD,
    Finish,
    Go,
    Kind,
    Prepare,
    Report,
    pack_order,
    pack_report,
    take_orders,
    take_reports,
    unpack_samples,
)


def test_orders_come_in_pieces_and_keep_their_order() -> None:
    orders = [Prepare(ClosedLoop(3)), Go(2**62), Finish()]
    received, taken = bytearray(), []
    for byte in b"".join(map(pack_order, orders)):
        received.append(byte)
        taken += list(take_orders(received))
    assert taken == orders
    assert not received


def test_reports_come_in_pieces_and_keep_their_order() -> None:
    reports = [Report(Kind.READY, 0, b""), Report(Kind.SAMPLES, 2**62, b"x" * 50), Report(Kind.FAILED, 0, b"why")]
    received, taken = bytearray(), []
    for byte in b"".join(pack_report(*report) for report in reports):
        received.append(byte)
        taken += take_reports(received)
    assert taken == reports
    assert not received


def test_samples_survive_the_pipe() -> None:
    rows = [(1, 2, 3, 0), (2**62, 2**62 + 1, 2**62 + 2, 14), (7, 8, 9, 255)]
    samples = unpack_samples(b"".join(RECORD.pack(*row) for row in rows))
    assert list(zip(*(column.tolist() for column in samples), strict=True)) == rows
    assert [column.dtype for column in samples] == [np.int64, np.int64, np.int64, np.uint8]
    assert all(column.flags.c_contiguous and column.flags.writeable for column in samples)
    assert len(unpack_samples(b"").due) == 0
