"""A Docker engine for the tests: this machine's own, or one that is set up for them and goes with them.

Where no engine runs, root of a Debian machine gets one that leaves the host's network alone: it has no bridge, no rules
of a firewall, and keeps everything in a folder of its own. Where no registry can be reached, the base image is made of
Debian's packages.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from running_server import wait_for

BASE_IMAGE: Final = "python:3.11-slim"
_OWN_BASE_IMAGE: Final = f"localhost/{BASE_IMAGE}"
_DEBIAN: Final = "bookworm"  # its Python is 3.11
_PULL_SECONDS: Final = 300
_SETUP_SECONDS: Final = 600
_START_SECONDS: Final = 30.0
#: What the official image does not carry either.
_SUPERFLUOUS: Final = (
    "usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "var/cache/apt/archives",
    "var/lib/apt/lists",
)  # fmt: skip


class NoEngine(Exception):
    """There is no engine here, or no base image, and none can be set up."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that runs.

    Attributes:
        docker: The client's path.
        environment: By which every client finds the engine.
        build_options: What a build needs here besides.
    """

    docker: str
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    build_options: tuple[str, ...] = ()

    def run(
        self, *arguments: str, check: bool = True, seconds: float = 300, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs `docker ARGUMENTS`, with `text` as its input; fails with what it printed where `check` is set."""
        command = [self.docker, *arguments]
        result = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=seconds, input=text
        )
        assert not check or result.returncode == 0, f"{command}: {result.stdout[-2000:]}{result.stderr[-4000:]}"
        return result

    def has(self, image: str) -> bool:
        """Whether an image is there, or can be pulled."""
        if self.run("image", "inspect", image, check=False).returncode == 0:
            return True
        return self.run("pull", "--quiet", image, check=False, seconds=_PULL_SECONDS).returncode == 0

    def build(self, context: Path, image: str, *options: str, seconds: float = 1200, text: str | None = None) -> None:
        """Builds an image of that name."""
        where = "-" if text else str(context)
        self.run("build", *self.build_options, *options, "--tag", image, where, seconds=seconds, text=text)


@contextlib.contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """The engine of this machine, or one in `folder` while the context lasts, with a base image to build on.

    Raises:
        NoEngine: There is none, and none can be set up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _any_engine(folder) as engine:
        base = BASE_IMAGE if engine.has(BASE_IMAGE) else _make_base_image(engine, folder / "base")
        options = ["--build-arg", f"BASE_IMAGE={base}"]
        if engine.run("network", "inspect", "bridge", check=False).returncode != 0:
            options += ["--network", "host"]
        if "PIP_CERT" in os.environ:  # a proxy with an authority of its own
            options += ["--secret", f"id=ca,src={os.environ['PIP_CERT']}"]
        yield Engine(engine.docker, engine.environment, tuple(options))


@contextlib.contextmanager
def _any_engine(folder: Path) -> Iterator[Engine]:
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    if docker := shutil.which("docker"):
        engine = Engine(docker, environment)
        if _is_up(engine):
            yield engine
            return
    _install("docker.io", "iptables", program="dockerd")
    socket = f"unix://{folder}/docker.sock"
    command = [
        "/usr/sbin/dockerd", f"--host={socket}", f"--data-root={folder}/data", f"--exec-root={folder}/exec",
        f"--pidfile={folder}/docker.pid", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
        "--ip-masq=false", "--bridge=none",
    ]  # fmt: skip
    # Debian's own client has BuildKit built in; a newer one, which may be first on the path, wants a plug-in for it.
    engine = Engine("/usr/bin/docker", {**environment, "DOCKER_HOST": socket})
    with (folder / "dockerd.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: _is_up(engine) or process.poll() is not None, "the engine to start", _START_SECONDS)
        if process.poll() is not None:
            raise NoEngine(f"dockerd does not start here: {(folder / 'dockerd.log').read_text()[-1000:]}")
        yield engine
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        # What the engine leaves mounted, and nobody could remove the folder.
        subprocess.run(["umount", f"{folder}/exec/netns/default"], capture_output=True, check=False)


def _is_up(engine: Engine) -> bool:
    return engine.run("info", check=False).returncode == 0


def _install(*packages: str, program: str) -> None:
    """Installs packages of Debian's, unless the program is there."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoEngine(f"{program} is not here, and only root of a Debian machine can add it")
    _must("apt-get", "update", "--quiet")
    _must("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages)


def _make_base_image(engine: Engine, root: Path) -> str:
    """An image like the official one, of Debian's packages; returns its name."""
    if engine.run("image", "inspect", _OWN_BASE_IMAGE, check=False).returncode == 0:
        return _OWN_BASE_IMAGE
    _install("debootstrap", program="debootstrap")
    packages = "ca-certificates,python3,python3-venv,python3-pip"
    _must("debootstrap", "--variant=minbase", f"--include={packages}", _DEBIAN, str(root))
    for folder in _SUPERFLUOUS:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    (root / "usr/bin/python").symlink_to("python3")
    archive = root.with_suffix(".tar")
    _must("tar", "-C", str(root), "--one-file-system", "--numeric-owner", "-cf", str(archive), ".")
    engine.run("import", "--change", 'CMD ["python3"]', str(archive), _OWN_BASE_IMAGE, seconds=_SETUP_SECONDS)
    archive.unlink()
    shutil.rmtree(root)
    return _OWN_BASE_IMAGE


def _must(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=_SETUP_SECONDS, env=environment)
    if result.returncode != 0:
        raise NoEngine(f"{' '.join(command)}: {result.stdout[-1000:]}{result.stderr[-1000:]}")
