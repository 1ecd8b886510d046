"""What the measurements print: tables, and the same rows as JSON."""

import os
import platform
import time
from collections.abc import Sequence
from typing import NamedTuple

import grpc
import psutil
from rich.console import Console
from rich.table import Table

Row = dict[str, float | int | str]
#: A pipe or a file has no width; a table cut in the middle is of no use.
WIDTH = 140


class Column(NamedTuple):
    """A column: its key in the rows, its heading, and the format of its numbers."""

    key: str
    heading: str
    form: str = ""


class Section(NamedTuple):
    """One measurement's result; notes are what a reader must know to believe it."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()


LOADED_COLUMNS = (
    Column("rate", "req/s", ".0f"),
    Column("p50", "p50 ms", ".2f"),
    Column("p99", "p99 ms", ".2f"),
    Column("cpu_us", "cpu us", ".0f"),
)


def show(section: Section) -> None:
    """Prints a section."""
    table = Table(box=None, title=section.title, title_justify="left", title_style="bold")
    for column in section.columns:
        table.add_column(column.heading, justify="right" if column.form else "left", no_wrap=True)
    for row in section.rows:
        table.add_row(*(cell(row, column) for column in section.columns))
    console = Console(width=WIDTH, highlight=False)
    console.print(table)
    for note in section.notes:
        console.print(f"  note: {note}", markup=False)
    console.print()


def cell(row: Row, column: Column) -> str:
    """One cell; empty where the row has no such key."""
    value = row.get(column.key, "")
    return value if isinstance(value, str) else format(value, column.form)


def machine() -> Row:
    """Where and when this runs; a number without it says nothing."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "load_average": round(os.getloadavg()[0], 2),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "grpcio": grpc.__version__,
    }


def processor() -> str:
    """The processor's name where Linux tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
