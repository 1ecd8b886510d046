"""One contestant awake at a time, over clients that remember what they were told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from quadriga_client.client import Client
from quadriga_client.compare.awake import AllAwake, OneAwake
from quadriga_client.compare.contestants import Contestant, parse_contestants
from quadriga_client.compare.errors import CompareError
from quadriga_client.errors import FailedPrecondition, Unavailable, Unimplemented
from quadriga_client.results import ModelStatus

HERE, THERE = "127.0.0.1:8001", "127.0.0.1:9001"


@dataclass
class FakeServer:
    """A server that loads and unloads by request; stands in for a client of it.

    Attributes:
        loaded: Models.
        done: What it was asked for, in order.
        refuses: Whether it loads and unloads nothing.
        fails_to_load: A model that it cannot load.
        looks: How often its index is asked for until what was unloaded has gone.
    """

    loaded: set[str]
    done: list[str] = field(default_factory=list)
    refuses: bool = False
    fails_to_load: str = ""
    on_load: Callable[[], None] = lambda: None
    looks: int = 0
    ending: dict[str, int] = field(default_factory=dict)

    def repository_index(self) -> list[ModelStatus]:
        """See `Client`; one model is on disk alone."""
        self.ending = {model: left - 1 for model, left in self.ending.items() if left > 0}
        unloading = dict.fromkeys(self.ending, "UNLOADING")
        states = {**dict.fromkeys(self.loaded, "READY"), "on_disk": "", **unloading}
        return [
            ModelStatus(model=model, version="1", state=state, reason="", metadata=None)
            for model, state in states.items()
        ]

    def load_model(self, model: str) -> None:
        """See `Client`."""
        self._change()
        assert not self.ending, "it is loaded while another one still ends"
        self.done.append(f"+{model}")
        self.on_load()
        if model == self.fails_to_load:
            raise Unavailable("it cannot be loaded")
        self.loaded.add(model)

    def unload_model(self, model: str) -> None:
        """See `Client`."""
        self._change()
        self.done.append(f"-{model}")
        self.loaded.discard(model)
        if self.looks:
            self.ending[model] = self.looks

    def _change(self) -> None:
        if self.refuses:
            raise FailedPrecondition("start the server with --model-control explicit")


class Clock:
    """Goes on by two seconds whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 2
        return self.now


def one_awake(
    server: FakeServer, *texts: str, there: FakeServer | None = None, left: list[str] | None = None
) -> OneAwake:
    contestants = parse_contestants(texts, HERE)
    clients = {HERE: server} if there is None else {HERE: server, THERE: there}
    told = [] if left is None else left
    return OneAwake(contestants, cast("dict[str, Client]", clients), told.append, Clock(), lambda seconds: None)


def contestants_of(*texts: str) -> tuple[Contestant, ...]:
    return parse_contestants(texts, HERE)


def test_only_the_one_that_is_woken_is_loaded() -> None:
    server = FakeServer({"a", "b", "c"})
    a, b, c = contestants_of("a", "b", "c")
    with one_awake(server, "a", "b", "c") as awake:
        assert [awake.wake(b), server.loaded] == [False, {"b"}]
        assert [awake.wake(b), server.loaded] == [False, {"b"}]
        assert [awake.wake(a), server.loaded] == [True, {"a"}]
        assert [awake.wake(c), server.loaded] == [True, {"c"}]
    assert server.done[:3] == ["-a", "-c", "-b"]


@pytest.mark.parametrize("before", [set(), {"a"}, {"b"}, {"a", "b"}])
@pytest.mark.parametrize("woken", [(), ("a",), ("b",), ("a", "b", "a")])
def test_what_was_loaded_before_is_put_back(before: set[str], woken: tuple[str, ...]) -> None:
    server = FakeServer(set(before))
    with one_awake(server, "a", "b") as awake:
        by_name = {each.name: each for each in contestants_of("a", "b")}
        for name in woken:
            awake.wake(by_name[name])
    assert server.loaded == before


def test_what_was_loaded_before_is_put_back_after_ctrl_c_in_a_load() -> None:
    def interrupt() -> None:
        if len(server.done) == 2:
            raise KeyboardInterrupt

    server = FakeServer({"a"}, on_load=interrupt)
    with pytest.raises(KeyboardInterrupt), one_awake(server, "a", "b") as awake:
        awake.wake(contestants_of("a", "b")[1])
    assert server.done == ["-a", "+b", "-b", "+a"]
    assert server.loaded == {"a"}


def test_loads_are_timed() -> None:
    a, b = contestants_of("a", "b")
    with one_awake(FakeServer({"a"}), "a", "b") as awake:
        awake.wake(a)
        awake.wake(b)
        assert awake.load_ms(a) is None
        assert awake.load_ms(b) == 2000.0


def test_all_of_several_servers_take_turns() -> None:
    here, there = FakeServer({"a"}), FakeServer({"a", "stranger"})
    own, other = contestants_of("a", f"a@{THERE}")
    with one_awake(here, "a", f"a@{THERE}", there=there) as awake:
        awake.wake(own)
        assert (here.loaded, there.loaded) == ({"a"}, {"stranger"})
        awake.wake(other)
        assert (here.loaded, there.loaded) == (set(), {"a", "stranger"})
        assert awake.notes == (f"also loaded at {THERE}, all the time: stranger",)
    assert (here.loaded, there.loaded) == ({"a"}, {"a", "stranger"})


def test_a_server_that_loads_nothing_by_request_is_refused_with_advice() -> None:
    server = FakeServer({"a", "b"}, refuses=True)
    with (
        pytest.raises(CompareError, match=r"a cannot be loaded alone: start .*; --one-awake needs servers that load"),
        one_awake(server, "a", "b") as awake,
    ):
        awake.wake(contestants_of("a", "b")[0])
    assert server.loaded == {"a", "b"}


def test_a_server_without_an_index_is_refused() -> None:
    class WithoutIndex(FakeServer):
        def repository_index(self) -> list[ModelStatus]:
            raise Unimplemented("no such rpc")

    with (
        pytest.raises(CompareError, match=r"does not say what it has loaded: no such rpc; --one-awake needs"),
        one_awake(WithoutIndex(set()), "a", "b"),
    ):
        pytest.fail("it was entered")


def test_one_that_cannot_be_put_back_is_told_and_the_others_are_put_back() -> None:
    server = FakeServer({"a", "b", "c"})
    left: list[str] = []
    with one_awake(server, "a", "b", "c", left=left) as awake:
        awake.wake(contestants_of("a", "b", "c")[2])
        server.fails_to_load = "a"
    assert left == [f"a at {HERE}, which was loaded, is not put back: it cannot be loaded"]
    assert server.loaded == {"b", "c"}


def test_an_unload_is_waited_for() -> None:
    server = FakeServer({"a", "b"}, looks=5)
    with one_awake(server, "a", "b") as awake:
        awake.wake(contestants_of("a", "b")[1])
        assert server.ending == {}


def test_an_unload_that_never_ends_is_told() -> None:
    server = FakeServer({"a", "b"}, looks=1000)
    with one_awake(server, "a", "b") as awake:
        with pytest.raises(CompareError, match=r"a at .* is still not unloaded after 60 s.*; leave out --one-awake"):
            awake.wake(contestants_of("a", "b")[1])
        server.ending.clear()


def test_two_versions_of_a_model_cannot_take_turns() -> None:
    with pytest.raises(CompareError, match="only one contestant can be of 'a'"):
        one_awake(FakeServer(set()), "a:1", "a:2")


def test_without_turns_nothing_is_asked_of_the_servers() -> None:
    (a, _) = contestants_of("a", "b")
    awake = AllAwake()
    assert (awake.wake(a), awake.load_ms(a), awake.notes) == (False, None, ())
