"""Which rpc is open to whom, and what a file of tokens may hold."""

import logging
import os
from collections import Counter
from pathlib import Path

import pytest

from quadriga.access import Guard, group_of, make_guard
from quadriga.config import GROUPS, Group, ServerConfig
from quadriga.errors import ConfigError
from quadriga.tokens import TokenFile
from quadriga_proto import inference_pb2 as pb

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
CONTROL = {
    "RepositoryModelLoad", "RepositoryModelUnload", "TraceSetting", "LogSettings",
    *(f"{kind}SharedMemory{action}" for kind in ("System", "Cuda") for action in ("Status", "Register", "Unregister")),
}  # fmt: skip


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("# of the team\n\nfirst-token\n  second.token==  \n")
    return path


def replace(path: Path, text: str) -> None:
    """Writes another file and moves it to the path, as an operator should."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_every_rpc_of_the_service_is_in_its_group() -> None:
    methods = [method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]
    groups: dict[str, set[str]] = {group: set() for group in GROUPS}
    for method in methods:
        groups[group_of(f"/{SERVICE}/{method}")].add(method)
    assert groups == {
        "health": {"ServerLive", "ServerReady", "ModelReady"},
        "inference": {"ModelInfer", "ModelStreamInfer"},
        "metadata": {"ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics", "RepositoryIndex"},
        "model-control": CONTROL,
    }


def test_health_and_reflection_are_in_groups_and_what_is_not_known_is_control() -> None:
    assert group_of("/grpc.health.v1.Health/Watch") == "health"
    assert group_of("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo") == "metadata"
    assert group_of("/other.Service/Method") == "model-control"


@pytest.mark.parametrize(
    ("with_tokens", "open_groups", "closed"),
    [
        (False, (), None),
        (False, GROUPS, None),
        (True, GROUPS, None),
        (True, (), {"inference", "metadata", "model-control"}),
        (True, ("inference",), {"health", "metadata", "model-control"}),
        (False, ("inference", "health"), {"metadata", "model-control"}),
    ],
)
def test_what_is_open(file: Path, with_tokens: bool, open_groups: tuple[Group, ...], closed: set[str] | None) -> None:
    config = ServerConfig(
        repositories=(file.parent,), token_file=file if with_tokens else None, open_groups=open_groups
    )
    guard = make_guard(config, Counter())
    paths = {
        "health": "ServerLive",
        "inference": "ModelInfer",
        "metadata": "ModelConfig",
        "model-control": "LogSettings",
    }
    if closed is None:
        assert guard is None
    else:
        assert guard is not None
        assert {group for group, method in paths.items() if not guard.is_open(f"/{SERVICE}/{method}")} == closed


@pytest.mark.parametrize("value", ["Bearer first-token", "bearer first-token", "Bearer second.token=="])
def test_a_token_of_the_file_opens(file: Path, value: str) -> None:
    guard = Guard((), TokenFile(file), Counter())
    assert guard.refusal(INFER, {"authorization": value}) is None
    assert not guard.refused


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "needs a token"),
        ("", "needs a token"),
        ("first-token", "needs a token"),
        ("Bearer ", "needs a token"),
        ("Basic first-token", "another scheme"),
        ("Bearer first-toke", "is not"),
        ("Bearer first-token-", "is not"),
        ("Bearer # of the team", "is not"),
        ("Bearer \udcff", "is not"),
    ],
)
def test_anything_else_is_refused_counted_and_not_repeated(file: Path, value: str | None, message: str) -> None:
    guard = Guard((), TokenFile(file), Counter())
    error = guard.refusal(INFER, {} if value is None else {"authorization": value})
    assert error is not None
    assert (error.code, message in str(error)) == ("UNAUTHENTICATED", True)
    assert "first-tok" not in str(error)
    assert guard.refused == {("UNAUTHENTICATED", "unauthenticated"): 1}


def test_what_is_closed_and_has_no_tokens_says_how_it_is_opened() -> None:
    guard = Guard(("health",), None, Counter())
    error = guard.refusal(INFER, {"authorization": "Bearer first-token"})
    assert error is not None
    assert (error.code, "--open inference" in str(error)) == ("PERMISSION_DENIED", True)
    assert guard.refused == {("PERMISSION_DENIED", "closed"): 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no token"),
        (b"# nothing\n\n", "holds no token"),
        (b"good\ntwo words\n", "line 2 is no token"),
        ("schl\u00fcssel".encode(), "line 1 is no token"),
        (b"\xff\x00", "line 1 is no token"),
        (b"a" * 2_000_000, "more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_list_of_tokens_is_refused_without_showing_it(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        TokenFile(path)
    assert "\n" not in str(caught.value)
    assert "words" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        TokenFile(tmp_path / "missing")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        TokenFile(tmp_path)


def test_a_new_version_is_read_within_a_second(file: Path) -> None:
    clock = Clock()
    tokens = TokenFile(file, clock)
    replace(file, "third\n")
    clock.now += 0.9
    assert (tokens.admits("first-token"), tokens.admits("third")) == (True, False)
    clock.now += 0.1
    assert (tokens.admits("first-token"), tokens.admits("third")) == (False, True)


@pytest.mark.parametrize("bad", ["two words\n", "", None])
def test_a_bad_new_version_keeps_the_old_tokens_and_is_told_once(
    file: Path, bad: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    tokens = TokenFile(file, clock)
    file.unlink() if bad is None else replace(file, bad)
    for _ in range(3):
        clock.now += 1
        assert tokens.admits("first-token")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(file) in caplog.text
    replace(file, "third\n")
    clock.now += 1
    assert (tokens.admits("first-token"), tokens.admits("third")) == (False, True)
    assert "third" not in caplog.text
