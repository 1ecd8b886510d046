"""`make audit`: asks pip-audit for advisories about the pinned versions, and says what it could not ask about.

pip-audit itself says "No known vulnerabilities found", and ends with 0, where the service knows none of the packages,
as a mirror of PyPI without its JSON pages does. Here that fails, or is a line, with `--where-reachable`.

    python .ci/audit.py PIP_AUDIT [--where-reachable] [options of pip-audit, such as --vulnerability-service osv]

Advisories that do not concern Quadriga are listed in `.ci/advisories`, with the reason.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

_ROOT: Final = Path(__file__).parents[1]
_IGNORED: Final = _ROOT / ".ci" / "advisories"
_WHERE_REACHABLE: Final = "--where-reachable"


class Audit(NamedTuple):
    """What came of it: a line for each finding that counts, how many packages were asked about, and which were not."""

    findings: list[str]
    asked: int
    unknown: list[str]


def main(arguments: Sequence[str]) -> str | None:
    """Audits; why the check fails, or None."""
    pip_audit, *options = arguments
    where_reachable = _WHERE_REACHABLE in options
    options = [option for option in options if option != _WHERE_REACHABLE]
    command = [pip_audit, "--requirement", str(_ROOT / "constraints.txt"), "--no-deps", "--disable-pip"]
    command += ["--progress-spinner", "off", "--format", "json", *options]
    result = subprocess.run(command, capture_output=True, text=True)
    try:
        audit = read(json.loads(result.stdout), ignored(_IGNORED.read_text()))
    except ValueError:
        last = result.stderr.strip().splitlines()[-1:] or [f"it ended with {result.returncode}"]
        audit = Audit([], 0, [f"pip-audit says nothing: {last[0]}"])
    if audit.asked:
        print("\n".join(audit.findings) or f"no advisory about {audit.asked} pinned versions")
    if audit.findings:
        return "upgrade what is listed, or list it in .ci/advisories with the reason why it does not concern Quadriga"
    if not audit.unknown:
        return None
    missing = f"{len(audit.unknown)} could not be asked about, the first: {audit.unknown[0]}"
    if where_reachable and not audit.asked:
        print(f"the service of advisories cannot be reached, nothing was audited: {missing}")
        return None
    return missing


def read(report: Mapping[str, Any], ignored: Mapping[str, str]) -> Audit:
    """What pip-audit's JSON says; `ignored` has reasons by the advisories' names."""
    findings, asked, unknown = [], 0, []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["skip_reason"])
            continue
        asked += 1
        for advisory in package["vulns"]:
            names = {advisory["id"], *advisory.get("aliases", ())}
            if not names & ignored.keys():
                mended = ", ".join(advisory["fix_versions"]) or "no version"
                findings.append(f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}")
    return Audit(findings, asked, unknown)


def ignored(text: str) -> dict[str, str]:
    """Reasons by the advisories' names: a line each, "NAME reason".

    Raises:
        SystemExit: One has no reason.
    """
    reasons = {}
    for line in text.splitlines():
        name, _, reason = line.strip().partition(" ")
        if not name or name.startswith("#"):
            continue
        if not reason.strip():
            raise SystemExit(f"{_IGNORED.name}: {name} is ignored without a reason")
        reasons[name] = reason.strip()
    return reasons


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
