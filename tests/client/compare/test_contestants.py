"""Contestants as a command line names them."""

import pytest

from quadriga_client.compare.contestants import Contestant, parse_contestants
from quadriga_client.compare.errors import CompareError
from quadriga_client.errors import InputError

URL = "127.0.0.1:8001"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cnn", Contestant(name="cnn", model="cnn", version="", url=URL)),
        ("cnn:2", Contestant(name="cnn:2", model="cnn", version="2", url=URL)),
        ("ns:cnn", Contestant(name="ns:cnn", model="ns:cnn", version="", url=URL)),
        ("cnn@host:9000", Contestant(name="cnn@host:9000", model="cnn", version="", url="host:9000")),
        ("cnn:2@[::1]:9000", Contestant(name="cnn:2@[::1]:9000", model="cnn", version="2", url="[::1]:9000")),
        ("triton=cnn:1@host:9000", Contestant(name="triton", model="cnn", version="1", url="host:9000")),
        ("old=cnn:1", Contestant(name="old", model="cnn", version="1", url=URL)),
    ],
)
def test_a_contestant_is_read(text: str, expected: Contestant) -> None:
    assert parse_contestants([text, "other"], URL)[0] == expected


@pytest.mark.parametrize("text", ["", "=cnn", "a=", "@host:9000", "a=@host:9000", "cnn@"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(CompareError, match="a model is given as "):
        parse_contestants([text, "other"], URL)


def test_a_url_without_a_port_is_refused() -> None:
    with pytest.raises(InputError, match="names no port"):
        parse_contestants(["cnn@host", "other"], URL)


@pytest.mark.parametrize("texts", [[], ["cnn"]])
def test_fewer_than_two_are_refused(texts: list[str]) -> None:
    with pytest.raises(CompareError, match=f"at least two models, got {len(texts)}"):
        parse_contestants(texts, URL)


@pytest.mark.parametrize("texts", [["a=cnn", "b=cnn"], ["cnn", f"cnn@{URL}"], ["a=cnn:1", "b=cnn:1"]])
def test_the_same_model_may_be_there_under_two_names(texts: list[str]) -> None:
    one, other = parse_contestants(texts, URL)
    assert (one.model, one.version, one.url) == (other.model, other.version, other.url)
    assert one.name != other.name


def test_the_same_model_twice_needs_a_name() -> None:
    with pytest.raises(CompareError, match=r"two contestants are named 'cnn'; name one of them: NAME=cnn"):
        parse_contestants(["cnn", "cnn"], URL)


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(CompareError, match=r"two contestants are named 'a'; name one of them"):
        parse_contestants(["a=cnn", "a=other"], URL)


def test_the_same_model_on_two_servers_or_in_two_versions_is_two_contestants() -> None:
    names = [each.name for each in parse_contestants(["cnn", "cnn@host:9000", "cnn:1", "cnn:2"], URL)]
    assert names == ["cnn", "cnn@host:9000", "cnn:1", "cnn:2"]
