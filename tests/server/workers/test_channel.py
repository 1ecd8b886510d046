"""Messages over a real socket pair."""

import os
import socket
from collections.abc import Iterator

import pytest

from quadriga.backends.base import ModelSource
from quadriga.workers.channel import Channel, ChannelClosed
from quadriga.workers.messages import BatchDone, FromWorker, Load, LoadFailed, Region, RunBatch, ToWorker

RUN = RunBatch(1, 4096, (Region((2, 3), 64, 24),))
DONE = BatchDone(
    slot=1, segment_size=4096, outputs=(Region((2, 10), 0, 80),), started_ns=1, computed_ns=2, finished_ns=3
)


@pytest.fixture
def ends() -> Iterator[tuple[Channel[FromWorker], Channel[ToWorker]]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    server: Channel[FromWorker] = Channel(ours, FromWorker)
    worker: Channel[ToWorker] = Channel(theirs, ToWorker)
    yield server, worker
    server.close()
    worker.close()


def test_messages_arrive_as_they_were_sent(ends: tuple[Channel[FromWorker], Channel[ToWorker]]) -> None:
    server, worker = ends
    server.send(RUN)
    server.send(RUN)
    assert worker.receive() == [RUN, RUN]
    worker.send(DONE)
    worker.send(LoadFailed("no"))
    assert server.receive() == [DONE, LoadFailed("no")]
    assert server.receive() == []


def test_a_message_may_come_in_pieces(ends: tuple[Channel[FromWorker], Channel[ToWorker]]) -> None:
    server, worker = ends
    sender, receiver = socket.socketpair()
    with sender, receiver:
        worker.send(LoadFailed("x" * 500))
        frame = server.socket.recv(4096)
        pieces: Channel[FromWorker] = Channel(receiver, FromWorker)
        got = []
        for start in range(0, len(frame), 97):
            sender.send(frame[start : start + 97])
            got += pieces.receive()
    assert got == [LoadFailed("x" * 500)]


def test_descriptors_come_along(ends: tuple[Channel[FromWorker], Channel[ToWorker]]) -> None:
    server, worker = ends
    load = Load("fake", ModelSource(path="/m", parameters={"a": "b"}), 2, 8)
    with open(os.devnull) as file:
        server.send(load, [file.fileno(), file.fileno()])
    messages, descriptors = worker.receive_with_descriptors(8)
    assert messages == [load]
    assert len(descriptors) == 2
    for descriptor in descriptors:
        assert os.fstat(descriptor).st_rdev == os.stat(os.devnull).st_rdev
        os.close(descriptor)


def test_the_end_of_the_other_side_is_an_error(ends: tuple[Channel[FromWorker], Channel[ToWorker]]) -> None:
    server, worker = ends
    worker.close()
    with pytest.raises(ChannelClosed):
        server.receive()
    with pytest.raises(ChannelClosed, match="RunBatch"):
        server.send(RUN)


def test_a_full_socket_counts_as_closed(ends: tuple[Channel[FromWorker], Channel[ToWorker]]) -> None:
    server, _ = ends
    with pytest.raises(ChannelClosed, match="RunBatch"):  # noqa: PT012 - how many fit is the kernel's affair
        while True:
            server.send(RUN)


def test_a_message_of_the_wrong_side_is_refused(ends: tuple[Channel[FromWorker], Channel[ToWorker]]) -> None:
    server, worker = ends
    worker.send(RUN)
    with pytest.raises(ChannelClosed, match="RunBatch"):
        server.receive()
