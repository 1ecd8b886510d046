"""A container of one of the project's images, run as hardened as it may be, for the tests."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from docker_engine import Engine
from running_server import wait_for

#: What an operator may take from a container: writing, all rights of root, and gaining any.
HARDENED: Final = (
    "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "256",
)  # fmt: skip
#: Often enough for a test; a start period of 0 would be the image's own.
PROBED: Final = ("--health-interval", "1s", "--health-retries", "2", "--health-start-period", "1ms")
_SECONDS: Final = 120.0


class Container:
    """One container.

    Attributes:
        name: By which the engine knows it.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    def inspect(self) -> dict[str, Any]:
        """What the engine says of it."""
        (found,) = json.loads(self._engine.run("inspect", self.name).stdout)
        return dict(found)

    def address(self, port: int) -> str:
        """Where a port of it is reached from here, as HOST:PORT."""
        (bound,) = self.inspect()["NetworkSettings"]["Ports"][f"{port}/tcp"]
        return f"{bound['HostIp']}:{bound['HostPort']}"

    def execute(self, *command: str, check: bool = True, user: str = "") -> str:
        """Runs a command in it; returns what that printed."""
        options = ["--user", user] if user else []
        return self._engine.run("exec", *options, self.name, *command, check=check).stdout

    def health(self) -> str:
        """Its state of health."""
        return str(self.inspect()["State"]["Health"]["Status"])

    def last_probe(self) -> str:
        """What the last probe of its health printed."""
        return str(self.inspect()["State"]["Health"]["Log"][-1]["Output"])

    def wait_for_health(self, status: str) -> None:
        """Waits until it is so."""
        wait_for(lambda: self.health() == status or self._must_run(), f"{self.name} to be {status}", _SECONDS)

    def wait_for_end(self) -> int:
        """Waits until it has ended; its exit status."""
        wait_for(lambda: not self.inspect()["State"]["Running"], f"{self.name} to end", _SECONDS)
        return int(self.inspect()["State"]["ExitCode"])

    def stop(self) -> int:
        """Sends SIGTERM, and SIGKILL after half a minute; its exit status."""
        self._engine.run("stop", "--time", "30", self.name)
        return self.wait_for_end()

    def log(self) -> str:
        """All that it printed."""
        result = self._engine.run("logs", self.name)
        return result.stdout + result.stderr

    def _must_run(self) -> bool:
        assert self.inspect()["State"]["Running"], self.log()
        return False


@contextmanager
def running(
    engine: Engine, image: str, *options: str, command: Sequence[str] = (), hardened: bool = True
) -> Iterator[Container]:
    """A container that goes with the context."""
    flags = (*(HARDENED if hardened else ()), *PROBED, *options)
    name = re.sub(r"\s", "", engine.run("run", "--detach", *flags, image, *command).stdout)
    try:
        yield Container(engine, name)
    finally:
        engine.run("rm", "--force", "--volumes", name)


def zombies(container: Container) -> list[str]:
    """The names of its processes that ended and that nobody has reaped."""
    program = (
        "import glob\n"
        "for path in glob.glob('/proc/[0-9]*/stat'):\n"
        "    try: text = open(path).read()\n"
        "    except OSError: continue\n"
        "    if text.rpartition(')')[2].split()[0] == 'Z': print(text)\n"
    )
    return container.execute("python", "-c", program).splitlines()
