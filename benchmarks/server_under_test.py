"""A Quadriga server started for a measurement."""

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from process_tree import ProcessTree
from prometheus_client.parser import text_string_to_metric_families


class ServerUnderTest(NamedTuple):
    """Its addresses and processes."""

    grpc: str
    http: str
    tree: ProcessTree

    def metric(self, sample: str) -> float:
        """The sum of a sample over all its labels, by the sample's full name."""
        with urllib.request.urlopen(f"http://{self.http}/metrics") as answer:
            text = answer.read().decode()
        families = text_string_to_metric_families(text)
        return sum(each.value for family in families for each in family.samples if each.name == sample)


@contextmanager
def server(repository: Path, model: str, transport: str = "auto") -> Iterator[ServerUnderTest]:
    """A server with one model of a repository."""
    flags = ["--repository", str(repository), "--model-control", "explicit", "--load-model", model]
    with started([*flags, "--transport", transport]) as running:
        yield running


@contextmanager
def started(flags: list[str]) -> Iterator[ServerUnderTest]:
    """A server with these flags, on free ports.

    Raises:
        SystemExit: It did not start.
    """
    command = [sys.executable, "-m", "quadriga", "serve", *flags, "--grpc-port", "0", "--http-port", "0"]
    command += ["--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                if match := re.match(r"ready grpc=(\S+) http=(\S+)", line):
                    yield ServerUnderTest(match[1], match[2], ProcessTree(process.pid))
                    break
            else:
                raise SystemExit(f"the server did not start: {' '.join(command)}")
        finally:
            process.terminate()
