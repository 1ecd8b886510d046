"""A conformance kit for the Open Inference Protocol: executable rules, held against any server.

It speaks bare gRPC, without retry, and imports nothing of a server. `quadriga conformance` is its command line; as a
library:

    from quadriga_client.conformance import ZOO_MODELS, Settings, run, select

    report = run(Settings(url="127.0.0.1:8001", models=ZOO_MODELS, timeout=10.0), select(["oip"]))
    print(report.conforms, report.count())

MUST stands only where the protocol's text binds a server; SHOULD and MAY where it leaves something open, or where rules
are Triton's or gRPC's own. The module `roles` says which models of known behaviour the checks need.
"""

from quadriga_client.conformance import checks as _checks  # noqa: F401 - fills the catalogue
from quadriga_client.conformance.catalogue import GROUPS, Check, all_checks, select
from quadriga_client.conformance.junit import junit_xml
from quadriga_client.conformance.markdown import catalogue_markdown, comparison_markdown
from quadriga_client.conformance.outcomes import Level, Outcome, ServerGone
from quadriga_client.conformance.report import KIT_VERSION, Entry, Report, read_report
from quadriga_client.conformance.roles import ROLES, ZOO_MODELS
from quadriga_client.conformance.runner import INTERRUPT, Settings, run

__all__ = [
    "GROUPS",
    "INTERRUPT",
    "KIT_VERSION",
    "ROLES",
    "ZOO_MODELS",
    "Check",
    "Entry",
    "Level",
    "Outcome",
    "Report",
    "ServerGone",
    "Settings",
    "all_checks",
    "catalogue_markdown",
    "comparison_markdown",
    "junit_xml",
    "read_report",
    "run",
    "select",
]
