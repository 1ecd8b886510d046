"""What a URL of gRPC's says."""

import pytest

from quadriga_client import Client
from quadriga_client.rpcs import channel_options, host_of


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("localhost:8001", "localhost"),
        ("10.0.0.1:8001", "10.0.0.1"),
        ("[::1]:8001", "::1"),
        ("dns:///server.example:8001", "server.example"),
        ("dns:server.example:8001", "server.example"),
        ("ipv6:[fe80::1]:8001", "fe80::1"),
        ("unix:/run/quadriga.sock", ""),
        ("unix-abstract:quadriga", ""),
    ],
)
def test_the_host_is_found_in_every_kind_of_url(url: str, host: str) -> None:
    assert host_of(url) == host


def test_a_client_tells_where_it_leads() -> None:
    with Client("dns:///localhost:1") as client:
        assert client.url == "dns:///localhost:1"


@pytest.mark.parametrize(
    ("url", "authority"),
    [("localhost:1", None), ("ipv4:10.0.0.1:1,10.0.0.2:1", "10.0.0.1:1"), ("ipv6:[::1]:1,[::2]:1", "[::1]:1")],
)
def test_of_several_addresses_the_first_is_the_servers_name(url: str, authority: str | None) -> None:
    """All of them are no name, and a server may refuse it: pygrpc-native's does."""
    assert dict(channel_options(url, 1, None)).get("grpc.default_authority") == authority
