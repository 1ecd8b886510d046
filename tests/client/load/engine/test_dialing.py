"""Addresses of servers."""

import pytest

from quadriga_client.load.engine import dialing
from quadriga_client.load.errors import LoadError


@pytest.mark.parametrize(("url", "parts"), [("host:80", ("host", 80)), ("[::1]:8001", ("::1", 8001))])
def test_addresses(url: str, parts: tuple[str, int]) -> None:
    assert dialing.split_url(url) == parts


@pytest.mark.parametrize("url", ["", "host", ":80", "host:", "host:http", "host:0", "host:65536", "http://host:80"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(LoadError, match="HOST:PORT"):
        dialing.split_url(url)
