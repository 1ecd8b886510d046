"""TLS in both directions, with a certificate that is made for the test."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from quadriga_client import RetryPolicy, TlsOptions, errors
from quadriga_proto import inference_pb2 as pb

NAME = "quadriga.test"
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Key and certificate of `NAME`, signed by itself; the server and its clients both show it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    return key, chain


@pytest.fixture(scope="module")
def url(certificate: tuple[Path, Path]) -> Iterator[str]:
    """A server that asks its clients for a certificate."""
    key, chain = (path.read_bytes() for path in certificate)
    credentials = grpc.ssl_server_credentials([(key, chain)], root_certificates=chain, require_client_auth=True)
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        live: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            lambda request, context: pb.ServerLiveResponse(live=True).SerializeToString()
        )
        service = "inference.GRPCInferenceService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"ServerLive": live}),))
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


@pytest.mark.parametrize("as_bytes", [False, True], ids=["paths", "bytes"])
def test_both_sides_prove_themselves(
    connect: Callable[..., Any], url: str, certificate: tuple[Path, Path], as_bytes: bool
) -> None:
    key, chain = (path.read_bytes() if as_bytes else path for path in certificate)
    tls = TlsOptions(root_certificates=chain, client_key=key, client_chain=chain, authority=NAME)
    assert connect(url, tls=tls, retry=ONCE).live()


@pytest.mark.parametrize("missing", ["root_certificates", "client", "authority", "all"])
def test_nothing_less_will_do(
    connect: Callable[..., Any], url: str, certificate: tuple[Path, Path], missing: str
) -> None:
    key, chain = certificate
    client = {} if missing == "client" else {"client_key": key, "client_chain": chain}
    tls = TlsOptions(
        root_certificates=None if missing == "root_certificates" else chain,
        authority="" if missing == "authority" else NAME,
        **client,
    )
    with pytest.raises(errors.Unavailable):
        connect(url, tls=None if missing == "all" else tls, retry=ONCE).live()


def test_tls_options_are_checked(connect: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="together"):
        TlsOptions(client_key=b"key")
    with pytest.raises(errors.InputError, match=r"cannot read the PEM file .*missing\.pem"):
        connect("localhost:1", tls=TlsOptions(root_certificates=tmp_path / "missing.pem"))
    assert "secret" not in repr(TlsOptions(client_key=b"secret", client_chain=b"chain"))
