"""The summary that MLPerf's load generator writes at the end of a run, read. Pure.

Sections stand between lines of "="; in the first, the verdict is followed by what it rests on, one "NAME satisfied :
Yes" or "NO" per line, by recommendations, and by the early stopping's account, whose sentences go over several lines.
"""

import re
from dataclasses import dataclass
from typing import Final

from quadriga_client.load.errors import LoadError

VERDICT: Final = "Result is"
_HEADINGS: Final = ("Recommendations:", "Early Stopping Result:")
_PARAMETERS: Final = "Test Parameters Used"
_PAIR: Final = re.compile(r"(?P<key>[^:]+?)\s*:\s*(?P<value>\S.*?)\s*")


@dataclass(frozen=True, slots=True)
class Summary:
    """What it says.

    Attributes:
        valid: The verdict.
        reasons: What the verdict rests on where it is INVALID, and what the load generator recommends.
        figures: Of the results, in its order.
        parameters: The settings in force.
    """

    valid: bool
    reasons: tuple[str, ...]
    figures: dict[str, str]
    parameters: dict[str, str]


def parse(text: str) -> Summary:
    """Reads a summary.

    Raises:
        LoadError: It holds no verdict.
    """
    figures: dict[str, str] = {}
    parameters: dict[str, str] = {}
    remarks: dict[str, list[str]] = {heading: [] for heading in _HEADINGS}
    section = heading = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("=="):
            heading = ""
        elif line in _HEADINGS:
            heading = line
        elif heading:
            _add_remark(remarks[heading], line)
        elif pair := _PAIR.fullmatch(line.strip()):
            (parameters if section == _PARAMETERS else figures)[pair["key"]] = pair["value"]
        else:
            section = line.strip()
    if figures.get(VERDICT) not in ("VALID", "INVALID"):
        raise LoadError("MLPerf's load generator gave no verdict: its summary has no line 'Result is : VALID'")
    valid = figures[VERDICT] == "VALID"
    return Summary(valid, () if valid else tuple(_reasons(figures, remarks)), figures, parameters)


def _add_remark(remarks: list[str], line: str) -> None:
    """A sentence begins with an asterisk; a line without one goes on with the sentence before."""
    begins, text = line.startswith(" *"), line.strip(" *")
    if begins or not remarks:
        remarks.append(text)
    else:
        remarks[-1] += f" {text}"


def _reasons(figures: dict[str, str], remarks: dict[str, list[str]]) -> list[str]:
    broken = [f"{key}: {value}" for key, value in figures.items() if key.endswith("satisfied") and value == "NO"]
    recommendations, early_stopping = (remarks[heading] for heading in _HEADINGS)
    stopped = any(reason.startswith("Early stopping") for reason in broken)
    return broken + recommendations + ([" ".join(early_stopping)] if stopped and early_stopping else [])
