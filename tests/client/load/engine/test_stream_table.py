"""Requests that time out, and those that servers refuse, in every order."""

import pytest

from quadriga_client.load import status_codes
from quadriga_client.load.engine.stream_table import GRACE_NS, StreamTable
from quadriga_client.load.engine.streams import Ended, Stream


def table(*asked: int, most: int = 100) -> StreamTable:
    """Open streams 1, 3 and so on, whose requests have the time at which they were asked for as their number."""
    made = StreamTable(timeout_ns=100, most=most)
    for number, asked_ns in enumerate(asked):
        made.open[2 * number + 1] = Stream(asked_ns, asked_ns)
    return made


def late(*requests: int, now_ns: int) -> list[Ended]:
    return [Ended(request, status_codes.DEADLINE_EXCEEDED, 0, now_ns) for request in requests]


def test_requests_are_given_up_when_their_time_is_over() -> None:
    streams = table(10, 20, 30)
    streams.waiting.append(Stream(40, 40))
    assert streams.give_up(120) == [1, 3]
    assert streams.take_ended() == late(10, 20, now_ns=120)
    assert streams.give_up(140) == [5]
    assert streams.take_ended() == late(30, 40, now_ns=140)


def test_what_came_from_another_connection_keeps_its_time() -> None:
    streams = table(50, 60)
    streams.resend([Stream(10, 10), Stream(55, 55)])
    streams.open[5] = streams.waiting.popleft()
    assert streams.give_up(110) == [5]
    assert streams.take_ended() == late(10, now_ns=110)
    assert streams.give_up(155) == [1]
    assert streams.take_ended() == late(50, 55, now_ns=155)


def test_a_stream_that_was_given_up_has_its_place_until_the_server_ends_it_or_it_is_reset() -> None:
    streams = table(0, 0, 0, most=3)
    streams.give_up(100)
    assert not streams.has_room
    streams.forget(3)
    assert streams.has_room
    assert streams.take_overdue(100 + GRACE_NS - 1) == []
    assert streams.take_overdue(100 + GRACE_NS) == [1, 5]
    assert streams.take_overdue(100 + GRACE_NS) == []


def test_streams_that_the_server_has_not_looked_at_are_given_back_once() -> None:
    streams = table(10, 20, 30, 40)
    streams.open[7].refused = True
    streams.now_ns = 77
    streams.waiting.append(Stream(50, 50))
    assert streams.refuse_above(3) == [5, 7]
    assert streams.take_ended() == [Ended(40, status_codes.UNAVAILABLE, 0, 77)]
    assert [stream.request for stream in streams.take_refused(waiting=False)] == [30]
    assert [stream.request for stream in streams.take_refused(waiting=True)] == [50]
    assert list(streams.open) == [1, 3]


def test_what_was_given_up_and_not_looked_at_is_forgotten() -> None:
    streams = table(0, 0)
    streams.give_up(100)
    streams.refuse_above(1)
    assert streams.take_overdue(100 + GRACE_NS) == [1]


@pytest.mark.parametrize("given_up", [False, True])
def test_everything_can_be_abandoned(given_up: bool) -> None:
    streams = table(0, 90, 95)
    if given_up:
        streams.give_up(100)
    streams.waiting.append(Stream(96, 96))
    streams.refuse(5)
    ended = streams.abandon(200)
    requests = [90, 95, 96] if given_up else [0, 90, 95, 96]
    assert sorted(each.request for each in ended if each.code == status_codes.UNAVAILABLE) == requests
    assert [each for each in ended if each.code != status_codes.UNAVAILABLE] == late(0, now_ns=100) * given_up
    assert streams.abandon(200) == []
    assert streams.take_overdue(2 * GRACE_NS) == []
