"""The committed stubs are what their .proto files say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quadriga_proto import inference_pb2
from quadriga_proto.conventions import SERVICE

PROTO = Path(__file__).parents[2] / "proto"
STUBS = sorted(path.name for path in (PROTO / "quadriga_proto").glob("*_pb2.py*"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stubs made anew from a copy of the sources."""
    pytest.importorskip("grpc_tools")
    copy = tmp_path_factory.mktemp("proto")
    (copy / "quadriga_proto").mkdir()
    shutil.copy(PROTO / "generate.py", copy)
    for source in (PROTO / "quadriga_proto").glob("*.proto"):
        shutil.copy(source, copy / "quadriga_proto")
    command = [sys.executable, str(copy / "generate.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return copy / "quadriga_proto"


def test_no_stub_is_missing_or_left_over(generated: Path) -> None:
    assert sorted(path.name for path in generated.glob("*_pb2.py*")) == STUBS


@pytest.mark.parametrize("name", STUBS)
def test_a_stub_is_what_its_proto_says(generated: Path, name: str) -> None:
    committed = (PROTO / "quadriga_proto" / name).read_text()
    assert (generated / name).read_text() == committed, "run `make proto`"


def test_the_services_name_is_the_stubs() -> None:
    assert {service.full_name for service in inference_pb2.DESCRIPTOR.services_by_name.values()} == {SERVICE}
