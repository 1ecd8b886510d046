"""The table of models, as `quadriga serve` and `quadriga status` print it. Runs in the command's own process."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

_STATE_STYLES = {"READY": "green", "LOADING": "yellow", "UNLOADING": "yellow", "UNAVAILABLE": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One version of a model.

    Attributes:
        model: Its name.
        version: Its number; empty where the model has none that could be tried.
        format: Of the file.
        backend: That runs it.
        device: That it runs on.
        inputs: Described in one line.
        outputs: Likewise.
        load_ms: Loading and warming up; None where it is not loaded.
        state: As RepositoryIndex has it.
        reason: Why it is not ready.
    """

    model: str
    version: str = ""
    format: str = ""
    backend: str = ""
    device: str = ""
    inputs: str = ""
    outputs: str = ""
    load_ms: float | None = None
    state: str = ""
    reason: str = ""


def model_table(rows: Iterable[ModelRow]) -> Table:
    """The rows as a table; a column for reasons only where there are some."""
    rows = list(rows)
    with_reasons = any(row.reason for row in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("MODEL", "VERSION", "FORMAT", "BACKEND", "DEVICE", "INPUTS", "OUTPUTS"):
        table.add_column(heading, overflow="fold")
    table.add_column("LOAD MS", justify="right")
    table.add_column("STATE")
    if with_reasons:
        table.add_column("REASON", overflow="fold")
    for row in rows:
        cells = [
            row.model,
            row.version,
            row.format,
            row.backend,
            row.device,
            row.inputs,
            row.outputs,
            "" if row.load_ms is None else f"{row.load_ms:.0f}",
        ]
        # Text, since names and reasons may hold what rich would take for markup.
        reason = [Text(row.reason)] if with_reasons else []
        table.add_row(*map(Text, cells), Text(row.state, _STATE_STYLES.get(row.state, "")), *reason)
    return table
