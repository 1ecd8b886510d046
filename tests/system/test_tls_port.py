"""TLS and mutual TLS of the gRPC port: who gets in, what stops the start, and certificates that are replaced."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from certificates import Authority, Pair, lock
from oip import SERVICE, infer_request, outputs_of
from running_server import RunningServer, run_cli, wait_for

from quadriga_client import Client, RetryPolicy, TlsOptions, errors
from quadriga_proto import inference_pb2 as pb

ONCE = RetryPolicy(attempts=1)
ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.sign("server")


@pytest.fixture
def servers() -> Iterator[list[RunningServer]]:
    """Servers that a test starts; all are stopped, and nothing may be left of them."""
    running: list[RunningServer] = []
    yield running
    assert [server.stop() for server in running] == [0] * len(running)


@pytest.fixture
def start_with(repository: Path, servers: list[RunningServer]) -> Callable[..., RunningServer]:
    def start(pair: Pair, *arguments: str) -> RunningServer:
        tls = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
        servers.append(RunningServer("--repository", str(repository), *tls, *arguments))
        return servers[-1]

    return start


def live(server: RunningServer, tls: TlsOptions | None) -> bool:
    with Client(server.grpc, tls=tls, retry=ONCE, timeout=10) as client:
        return client.live()


def test_calls_and_streams_go_through_tls(
    start_with: Callable[..., RunningServer], pair: Pair, authority: Authority
) -> None:
    server = start_with(pair)
    root = authority.own.certificate
    with Client(server.grpc, tls=TlsOptions(root_certificates=root)) as client:
        assert client.infer("echo", ROW)["x"].tolist() == ROW.tolist()
    with grpc.secure_channel(server.grpc, grpc.ssl_channel_credentials(root.read_bytes())) as channel:
        method = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", bytes, pb.ModelStreamInferResponse.FromString)
        requests = [infer_request("echo", x=ROW).SerializeToString()] * 3
        answers = [outputs_of(response.infer_response)["x"] for response in method(iter(requests), timeout=30)]
        assert [answer.tolist() for answer in answers] == [ROW.tolist()] * 3
    with tritonclient.grpc.InferenceServerClient(server.grpc, ssl=True, root_certificates=str(root)) as triton:
        assert triton.is_server_ready()


def test_who_does_not_trust_the_server_or_speaks_no_tls_gets_nothing(
    start_with: Callable[..., RunningServer], pair: Pair, authority: Authority, tmp_path: Path
) -> None:
    server = start_with(pair)
    stranger = Authority(tmp_path, "stranger").own.certificate
    trusted = authority.own.certificate
    for tls in (None, TlsOptions(root_certificates=stranger), TlsOptions(root_certificates=trusted, authority="x.org")):
        with pytest.raises(errors.Unavailable):
            live(server, tls)
    assert live(server, TlsOptions(root_certificates=trusted))


def test_clients_have_to_prove_themselves(
    start_with: Callable[..., RunningServer], pair: Pair, authority: Authority, tmp_path: Path
) -> None:
    server = start_with(pair, "--tls-client-ca", str(authority.own.certificate))
    root = authority.own.certificate
    known, stranger = authority.sign("client"), Authority(tmp_path, "stranger").sign("client")
    assert live(server, TlsOptions(root_certificates=root, client_key=known.key, client_chain=known.certificate))
    wrong = TlsOptions(root_certificates=root, client_key=stranger.key, client_chain=stranger.certificate)
    for tls in (TlsOptions(root_certificates=root), wrong):
        with pytest.raises(errors.Unavailable):
            live(server, tls)


def test_commands_speak_tls(
    start_with: Callable[..., RunningServer], pair: Pair, authority: Authority, tmp_path: Path
) -> None:
    server = start_with(pair, "--tls-client-ca", str(authority.own.certificate))
    known = authority.sign("client")
    tls = ("--tls-ca", str(authority.own.certificate), "--tls-certificate", str(known.certificate))
    answer = run_cli("status", "--url", server.grpc, *tls, "--tls-key", str(known.key))
    assert (answer.returncode, "echo" in answer.stdout) == (0, True), answer.stderr
    refused = run_cli("status", "--url", server.grpc, "--tls-ca", str(authority.own.certificate))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "by TLS" in refused.stderr


def test_new_certificates_are_taken_up_and_bad_ones_are_not(
    start_with: Callable[..., RunningServer], pair: Pair, tmp_path: Path
) -> None:
    used = Pair(tmp_path / "chain.pem", tmp_path / "chain.key")
    copy(pair, used)
    server = start_with(used)
    used.certificate.write_text("not a certificate")

    def reads_files() -> bool:
        with pytest.raises(errors.Unavailable):
            live(server, None)  # a handshake, at which the files are looked at
        return "stay in use" in server.log

    wait_for(reads_files, "the bad certificate to be noticed")
    another = Authority(tmp_path, "another")
    copy(another.sign("server"), used)
    trusting = TlsOptions(root_certificates=another.own.certificate)

    def answers() -> bool:
        try:
            return live(server, trusting)
        except errors.Unavailable:
            return False

    wait_for(answers, "the new certificate to be shown")


def copy(source: Pair, target: Pair) -> None:
    for original, used in zip(source, target, strict=True):
        new = used.with_suffix(".new")
        shutil.copy(original, new)
        os.replace(new, used)


@pytest.mark.parametrize(
    ("flag", "content", "message"),
    [
        ("--tls-certificate", None, "cannot be read: No such file"),
        ("--tls-certificate", "nothing", "holds no PEM certificate"),
        ("--tls-key", None, "cannot be read: No such file"),
        ("--tls-key", "nothing", "cannot be used together"),
        ("--tls-key", "another", "the key belongs to another certificate"),
        ("--tls-key", "locked", "locked by a password"),
        ("--tls-client-ca", None, "cannot be read: No such file"),
        ("--tls-certificate", "", "holds no PEM certificate"),
        ("--tls-client-ca", "", "holds no PEM certificate that can be used"),
        ("--tls-client-ca", "nothing", "holds no PEM certificate that can be used"),
    ],
)
def test_bad_files_are_one_line_at_the_start(
    repository: Path, pair: Pair, authority: Authority, tmp_path: Path, flag: str, content: str | None, message: str
) -> None:
    file = tmp_path / "file.pem"
    if content == "locked":
        lock(pair.key, file)
    elif content == "another":
        file.write_bytes(authority.own.key.read_bytes())
    elif content is not None:
        file.write_text(content)
    flags = {
        "--tls-certificate": str(pair.certificate),
        "--tls-key": str(pair.key),
        "--tls-client-ca": str(authority.own.certificate),
        flag: str(file),
    }
    result = run_cli("serve", "--repository", str(repository), *(part for item in flags.items() for part in item))
    assert (result.returncode, result.stdout) == (1, "")
    assert message in result.stderr
    assert str(file) in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_native_transport_has_no_tls_and_says_so(repository: Path, pair: Pair) -> None:
    tls = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    result = run_cli("serve", "--repository", str(repository), "--transport", "native", *tls)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "transport is 'native', which has no tls_certificate" in result.stderr


def test_tls_quietens_the_warning_about_an_open_address(
    start_with: Callable[..., RunningServer], pair: Pair, repository: Path, servers: list[RunningServer]
) -> None:
    warning = "whoever reaches 0.0.0.0 may use this server"
    assert warning not in start_with(pair, "--host", "0.0.0.0").log
    servers.append(RunningServer("--repository", str(repository), "--host", "0.0.0.0"))
    wait_for(lambda: warning in servers[-1].log, "the warning")
