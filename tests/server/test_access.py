"""Which rpc is open to whom, and how refusals are told and counted."""

from collections import Counter
from pathlib import Path

import pytest

from quadriga.access import Guard, group_of, make_guard
from quadriga.config import GROUPS, Group, ServerConfig
from quadriga.tokens import TokenFile
from quadriga_proto import inference_pb2 as pb

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
CONTROL = {
    "RepositoryModelLoad", "RepositoryModelUnload", "TraceSetting", "LogSettings",
    *(f"{kind}SharedMemory{action}" for kind in ("System", "Cuda") for action in ("Status", "Register", "Unregister")),
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("# of the team\n\nfirst-token\n  second.token==  \n")
    return path


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
