"""Secrets stand nowhere: in no log at any level, no span, metric, statistic or error, and in nothing commands print."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest
from certificates import Authority, Pair
from google.protobuf.message import Message
from oip import infer_request, rpc
from otlp_receivers import Receiver, grpc_receiver
from running_server import RunningServer, run_cli, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

RIGHT, SECOND, WRONG = "right-0123456789abcdef", "second-0123456789abcdef", "wrong-0123456789abcdef"
#: A line of a file that is no token: its complaint must not show it.
NOT_A_TOKEN = "no token 0123456789abcdef"
COLLECTOR = "collector-0123456789abcdef"
TENSOR = 1234.5625  # exactly a float, and in nothing else that is printed


class Seen:
    """All that came out of a server and its clients, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def leaks(self, secrets: Sequence[str]) -> list[tuple[str, str]]:
        """Where a secret stands, and which."""
        return [(place, secret) for place, text in self.texts.items() for secret in secrets if secret in text]


@pytest.fixture(scope="module")
def transport() -> str:
    """The one that speaks TLS."""
    return "grpcio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secrets")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder, "authority")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.sign("server")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with grpc_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def seen(
    start: Callable[..., RunningServer], folder: Path, authority: Authority, pair: Pair, receiver: Receiver
) -> Seen:
    """A server with all that can be secret, at its most talkative, after calls of every kind."""
    seen = Seen()
    tokens = folder / "tokens"
    tokens.write_text(f"{RIGHT}\n{SECOND}\n")
    write_fake(folder / "repository", "echo")
    write_fake(folder / "repository", "failing", {"raise_on": 7.0})
    server = start(
        "--repository", str(folder / "repository"), "--token-file", str(tokens), "--log-level", "debug",
        "--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key),
        "--trace-sample", "1", "--trace-endpoint", receiver.endpoint,
        env={"OTEL_EXPORTER_OTLP_HEADERS": f"api-key={COLLECTOR}", "OTEL_BSP_SCHEDULE_DELAY": "100"},
    )  # fmt: skip
    credentials = grpc.ssl_channel_credentials(authority.own.certificate.read_bytes())
    with grpc.secure_channel(server.grpc, credentials) as channel:
        verbose = pb.LogSettingsRequest()
        verbose.settings["log_verbose_level"].uint32_param = 9
        authorizations = [f"Bearer {token}" for token in (RIGHT, SECOND, WRONG)]
        authorizations += [WRONG, f"Basic {WRONG}", f"bearer  {WRONG}", f"Bearer {WRONG}, {WRONG}"]
        requests: dict[str, Message] = {
            "ModelInfer": infer_request("echo", x=np.full((1, 4), TENSOR, np.float32)),
            "LogSettings": verbose,
            "ModelStatistics": pb.ModelStatisticsRequest(),
            "ServerMetadata": pb.ServerMetadataRequest(),
            "RepositoryIndex": pb.RepositoryIndexRequest(),
        }
        for authorization in authorizations:
            for method, request in requests.items():
                seen.texts[f"{method} with {authorization}"] = outcome(channel, method, request, authorization)
        bad = infer_request("failing", x=np.array([[TENSOR, 7, 0, 0]], np.float32))
        seen.texts["a failure"] = outcome(channel, "ModelInfer", bad, authorizations[0])
        replacement = tokens.with_suffix(".new")
        replacement.write_text(f"{RIGHT}\n{NOT_A_TOKEN}\n")
        os.replace(replacement, tokens)
        wait_for(
            lambda: (
                outcome(channel, "ServerMetadata", requests["ServerMetadata"], authorizations[0])
                and "stay valid" in server.log
            ),
            "the file that cannot be used to be noticed",
        )
    for name, token in (("right", RIGHT), ("wrong", WRONG)):
        (folder / name).write_text(token)
        result = run_cli(
            "status", "--url", server.grpc, "--token-file", str(folder / name),
            "--tls-ca", str(authority.own.certificate), "--tls-name", "localhost",
        )  # fmt: skip
        assert (result.returncode == 0) is (name == "right"), result.stderr
        seen.texts[f"status with the {name} token"] = result.stdout + result.stderr
    seen.texts["metrics"] = server.get("/metrics")[1]
    wait_for(lambda: receiver.spans, "spans")
    server.stop()
    seen.texts["spans"] = repr(receiver.spans)
    seen.texts["log"] = server.log
    seen.texts["printed"] = "\n".join(server.printed)
    return seen


def outcome(channel: grpc.Channel, method: str, request: Message, authorization: str) -> str:
    """What a call comes to, errors with their metadata."""
    try:
        return str(rpc(channel, method, request, metadata=[("authorization", authorization)]))
    except grpc.RpcError as error:
        return f"{error.code()} {error.details()} {error} {error.trailing_metadata()}"


def test_no_token_and_no_key_stands_anywhere(seen: Seen, pair: Pair) -> None:
    key = [line for line in pair.key.read_text().splitlines() if not line.startswith("-----")]
    assert seen.leaks([RIGHT, SECOND, WRONG, NOT_A_TOKEN, COLLECTOR, *key]) == []


def test_no_tensor_stands_in_what_the_operator_sees(seen: Seen) -> None:
    shown = ("log", "metrics", "spans", "printed")
    assert [place for place in shown if str(TENSOR) in seen.texts[place]] == []


def test_there_was_something_to_be_seen(seen: Seen, receiver: Receiver) -> None:
    assert "INTERNAL" in seen.texts["a failure"]
    assert "UNAUTHENTICATED" in seen.texts[f"ModelInfer with Bearer {WRONG}"]
    assert "DEBUG" in seen.texts["log"]
    assert "line 2" in seen.texts["log"]
    assert 'reason="unauthenticated"' in seen.texts["metrics"]
    assert receiver.headers["api-key"] == COLLECTOR
    assert seen.leaks(["echo"]), "a word that does stand there is found"


def test_a_key_that_cannot_be_used_is_not_shown(folder: Path, pair: Pair, repository: Path) -> None:
    damaged = folder / "damaged.key"
    lines = pair.key.read_text().splitlines()
    damaged.write_text("\n".join([lines[0], lines[1][::-1], *lines[2:]]))
    result = run_cli(
        "serve", "--repository", str(repository), "--tls-certificate", str(pair.certificate), "--tls-key", str(damaged)
    )
    assert result.returncode == 1
    assert not [line for line in lines[1:-1] if line in result.stderr or line[::-1] in result.stderr]
