"""Processes of the load tester, and what is asked of them besides orders and reports."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quadriga_client.load.engine.child import Child, end_all, wait_for_any
from quadriga_client.load.engine.messages import Kind

CHATTERBOX = """
import os
print("while it is imported", flush=True)
from quadriga_client.load.engine.child import Parent, run_child
from quadriga_client.load.engine.messages import Kind

def serve(parent: Parent) -> None:
    print("while it works", flush=True)
    os.system("echo by another program")
    parent.report(Kind.READY, payload=b"well")
    list(parent.orders())

def main() -> None:
    run_child(serve)
"""


def test_what_a_child_prints_is_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chatterbox.py").write_text(CHATTERBOX)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    chatterbox = Child("chatterbox", "a chatterbox")
    try:
        wait_for_any([chatterbox], 60.0)
        reports = list(chatterbox.reports())
    finally:
        end_all([chatterbox])
    assert [(report.kind, report.payload) for report in reports] == [(Kind.READY, b"well")]
    assert capfd.readouterr() == ("", "while it is imported\nwhile it works\nby another program\n")


def test_files_that_select_does_not_know_can_be_waited_for(above_1024: Callable[[int], int]) -> None:
    reading, writing = os.pipe()
    high = above_1024(reading)

    class File:
        def fileno(self) -> int:
            return high

    wait_for_any([File()], 0.0)
    os.write(writing, b"news")
    wait_for_any([File()], 60.0)
    for each in (reading, writing):
        os.close(each)
