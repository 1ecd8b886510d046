"""Every status becomes its own class, whichever client met it."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from quadriga_client import RetryPolicy, errors
from quadriga_client.errors import QuadrigaClientError, RpcFailed
from quadriga_proto import inference_pb2 as pb

ONCE = RetryPolicy(attempts=1)
FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


def all_errors(base: type[BaseException] = QuadrigaClientError) -> list[type[BaseException]]:
    return [base, *(found for child in base.__subclasses__() for found in all_errors(child))]


def test_the_docstring_draws_every_class_of_the_module() -> None:
    names = [found.__name__ for found in all_errors() if found.__module__ == errors.__name__]
    assert [name for name in names if name not in (errors.__doc__ or "")] == []


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_each_code_has_its_class(connect: Callable[..., Any], stand_in: Any, code: grpc.StatusCode) -> None:
    def fail(request: pb.ServerLiveRequest, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("reason", "a test"),))
        context.abort(code, f"made to fail with {code.name}")

    stand_in.on("ServerLive", fail)
    with pytest.raises(RpcFailed) as caught:
        connect(stand_in.url, retry=ONCE).live()
    error = caught.value
    assert type(error).__name__.upper() == code.name.replace("_", "")
    assert error.code is code
    assert error.message == str(error) == f"made to fail with {code.name}"
    assert error.trailer("reason") == "a test"
    assert error.trailer("nothing") is None


def test_nobody_at_the_address(connect: Callable[..., Any], unused_port: int) -> None:
    with pytest.raises(errors.Unavailable, match="failed to connect"):
        connect(f"127.0.0.1:{unused_port}", retry=ONCE).live()


def test_a_server_that_comes_back_is_found(connect: Callable[..., Any], stand_in: Any) -> None:
    failures = iter(["busy", "busy"])

    def busy_twice(request: pb.ServerLiveRequest, context: grpc.ServicerContext) -> pb.ServerLiveResponse:
        for failure in failures:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "1"),))
            context.abort(grpc.StatusCode.UNAVAILABLE, failure)
        return pb.ServerLiveResponse(live=True)

    stand_in.on("ServerLive", busy_twice)
    assert connect(stand_in.url, retry=RetryPolicy(attempts=3)).live()
    assert stand_in.count("ServerLive") == 3


def test_an_rpc_that_is_not_served(connect: Callable[..., Any], stand_in: Any) -> None:
    with pytest.raises(errors.Unimplemented):
        connect(stand_in.url).statistics()


@pytest.mark.parametrize("url", ["http://localhost:8000", "grpc://localhost:8001", "localhost", "localhost:", ""])
def test_urls_are_checked(connect: Callable[..., Any], url: str) -> None:
    with pytest.raises(errors.InputError, match="HOST:PORT"):
        connect(url)


def test_input_errors_are_value_errors() -> None:
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.MissingPackageError, ImportError)
