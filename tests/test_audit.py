"""`make audit`: findings fail it, ignored ones need a reason, and what could not be asked about is no clean bill."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FOUND = {
    "name": "torch", "version": "2.0.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.0.1"], "description": ""}],
}  # fmt: skip
CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
UNKNOWN = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.17.0)"}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The script."""
    path = Path(__file__).parents[1] / ".ci" / "audit.py"
    spec = importlib.util.spec_from_file_location("audit", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pip_audit(folder: Path, *packages: object) -> str:
    """A stand-in that reports these packages, as pip-audit does where it finds nothing: with status 0."""
    program = folder / "pip-audit"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({'dependencies': packages})}\nEND\n")
    program.chmod(0o755)
    return str(program)


def test_a_finding_fails(audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "upgrade" in audit.main([pip_audit(tmp_path, FOUND, CLEAN)])
    assert capsys.readouterr().out == "torch 2.0.0: PYSEC-1, mended in 2.0.1\n"


def test_nothing_found_passes(audit: ModuleType, tmp_path: Path) -> None:
    assert audit.main([pip_audit(tmp_path, CLEAN)]) is None


def test_what_could_not_be_asked_about_fails(audit: ModuleType, tmp_path: Path) -> None:
    assert "1 could not be asked about" in audit.main([pip_audit(tmp_path, CLEAN, UNKNOWN)])
    assert "1 could not be asked about" in audit.main([pip_audit(tmp_path, CLEAN, UNKNOWN), "--where-reachable"])
    assert "six" in audit.main([pip_audit(tmp_path, UNKNOWN)])


def test_a_service_that_cannot_be_reached_is_a_line_where_that_is_allowed(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    broken.chmod(0o755)
    for program in (pip_audit(tmp_path, UNKNOWN), str(broken)):
        assert audit.main([program, "--where-reachable"]) is None
        assert "nothing was audited" in capsys.readouterr().out
        assert audit.main([program]) is not None


def test_what_is_ignored_has_a_reason(audit: ModuleType) -> None:
    ignored = audit.ignored("# why\n\nCVE-1 the function is not called\n")
    assert ignored == {"CVE-1": "the function is not called"}
    assert audit.read({"dependencies": [FOUND]}, ignored).findings == []
    with pytest.raises(SystemExit, match="without a reason"):
        audit.ignored("CVE-1\n")
    assert audit.ignored((Path(__file__).parents[1] / ".ci" / "advisories").read_text()) == {}
