"""A token goes with every call, and to no other machine in plain text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running_server import run_cli

from quadriga_client import TlsOptions, errors
from quadriga_client.tokens import is_local


def test_the_token_goes_with_every_call_beside_other_metadata(connect: Callable[..., Any], classifier: Any) -> None:
    client = connect(classifier.url, token="secret", metadata=[("team", "four")])
    client.live()
    client.metadata("brightness")
    assert [(sent["authorization"], sent["team"]) for sent in classifier.metadata] == [("Bearer secret", "four")] * 2


def test_without_a_token_there_is_no_such_metadata(connect: Callable[..., Any], classifier: Any) -> None:
    connect(classifier.url).live()
    assert "authorization" not in classifier.metadata[0]


def test_it_is_not_sent_to_another_machine_in_plain_text(connect: Callable[..., Any]) -> None:
    with pytest.raises(errors.InputError, match=r"192\.0\.2\.1:8001 in plain text; use TlsOptions") as caught:
        connect("192.0.2.1:8001", token="secret")
    assert "secret" not in str(caught.value)
    connect("192.0.2.1:8001", token="secret", token_over_plaintext=True)
    connect("192.0.2.1:8001", token="secret", tls=TlsOptions())


@pytest.mark.parametrize("token", ["", "two words", "line\n", "schl\u00fcssel"])
def test_a_token_that_metadata_cannot_carry_is_refused(connect: Callable[..., Any], token: str) -> None:
    with pytest.raises(errors.InputError, match="the token is empty, or has blanks"):
        connect("localhost:1", token=token)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("localhost:1", True),
        ("127.0.0.1:1", True),
        ("127.1.2.3:1", True),
        ("[::1]:1", True),
        ("unix:/run/q.sock", True),
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.1:1", True),
        ("ipv6:[::1]:1", True),
        ("192.0.2.1:1", False),
        ("localhost.example.org:1", False),
        ("dns:///example.org:1", False),
        ("ipv4:127.0.0.1:1,192.0.2.1:1", False),
        ("0.0.0.0:1", False),
    ],
)
def test_what_is_local(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_commands_send_the_first_token_of_their_file(classifier: Any, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# of the team\n\nfirst\nsecond\n")
    run_cli("status", "--url", classifier.url, "--token-file", str(file))
    run_cli("status", "--url", classifier.url, env={"QUADRIGA_TOKEN_FILE": str(file)})
    assert [sent["authorization"] for sent in classifier.metadata if "authorization" in sent]
    assert {sent.get("authorization") for sent in classifier.metadata} == {"Bearer first"}


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"# none\n", "holds no token"), (b"\xff\xfe", "is no token")]
)
def test_a_file_without_a_token_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    result = run_cli("status", "--token-file", str(file))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert message in result.stderr
