"""A report as JUnit XML, for CI systems: only broken MUST rules are failures there. In the kit's process."""

import xml.etree.ElementTree as ElementTree
from itertools import groupby

from quadriga_client.conformance.outcomes import Outcome
from quadriga_client.conformance.report import Entry, Report


def junit_xml(report: Report) -> str:
    """The document: a suite per group, a case per check.

    A SHOULD or MAY rule that is broken is a case that passed, with its level, outcome and message as properties and in
    system-out. What is unsupported or skipped is skipped.
    """
    root = ElementTree.Element("testsuites", name=f"conformance of {report.server or report.url}")
    for group, entries in groupby(report.entries, lambda entry: entry.group):
        cases = list(entries)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=group,
            tests=str(len(cases)),
            failures=str(sum(entry.breaks and entry.outcome is Outcome.FAILED for entry in cases)),
            errors=str(sum(entry.outcome is Outcome.ERROR for entry in cases)),
            skipped=str(sum(entry.outcome in (Outcome.SKIPPED, Outcome.UNSUPPORTED) for entry in cases)),
            time=f"{sum(entry.seconds for entry in cases):.3f}",
            timestamp=report.date,
        )
        for entry in cases:
            suite.append(_case(entry))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(entry: Entry) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=entry.group, name=entry.id, time=f"{entry.seconds:.3f}")
    properties = ElementTree.SubElement(case, "properties")
    facts = {"level": entry.level, "outcome": entry.outcome, "rule": entry.rule, "source": entry.source}
    for name, value in {**facts, "observed": entry.observed}.items():
        if value:
            ElementTree.SubElement(properties, "property", name=name, value=_printable(value))
    message = _printable(entry.message)
    if entry.outcome is Outcome.ERROR:
        ElementTree.SubElement(case, "error", message=message)
    elif entry.breaks:
        ElementTree.SubElement(case, "failure", message=message)
    elif entry.outcome is Outcome.FAILED:
        ElementTree.SubElement(case, "system-out").text = f"{entry.level} rule broken: {message}"
    elif entry.outcome is not Outcome.PASSED:
        ElementTree.SubElement(case, "skipped", message=f"{entry.outcome}: {message}")
    return case


def _printable(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)
