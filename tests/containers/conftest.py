"""Fixtures of the containers' tests: one engine, one context to build from, and a network, for all of them."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker_engine import Engine, NoEngine, running_engine

ROOT = Path(__file__).parents[2]
#: What the build reads, and `make` with it.
CONTEXT = (
    "LICENSE", "Makefile", "README.md", "client", "constraints.txt", "docker", "models/quadriga_zoo", "proto",
    "pyproject.toml", "server",
)  # fmt: skip
_NETWORK = "quadriga-tests"


_MISSING = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says that nothing was tried, where that is so: a row of skipped tests is easily overlooked."""
    if missing := config.stash.get(_MISSING, ""):
        terminalreporter.section("NO CONTAINER WAS TESTED", sep="!", red=True)
        terminalreporter.line(f"no Docker engine: {missing}")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Engine]:
    """With a network whose containers' ports can be published."""
    kept = os.environ.get("QUADRIGA_ENGINE_FOLDER")  # what was built is there for the next run
    folder = Path(kept) if kept else tmp_path_factory.mktemp("engine")
    with contextlib.ExitStack() as context:
        try:
            engine = context.enter_context(running_engine(folder))
        except NoEngine as missing:
            pytestconfig.stash[_MISSING] = str(missing)
            pytest.skip(f"no Docker engine: {missing}")
        engine.run("network", "rm", _NETWORK, check=False)  # of a run that was cut off, on an engine that is kept
        engine.run("network", "create", _NETWORK)
        context.callback(engine.run, "network", "rm", _NETWORK)
        yield engine
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def network() -> tuple[str, ...]:
    """The options that join a container to it, and publish its ports to this machine alone."""
    return ("--network", _NETWORK, "--publish", "127.0.0.1::8001", "--publish", "127.0.0.1::8000")


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the images are made of, with the wheel of torch that this machine keeps, if any."""
    context = tmp_path_factory.mktemp("context")
    for name in CONTEXT:
        source, target = ROOT / name, context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    for wheel in kept_wheels("torch-*+cpu-*.whl"):
        shutil.copy2(wheel, context / "docker" / "wheels")
    return context


def kept_wheels(pattern: str) -> list[Path]:
    """The wheels of that name in folders that pip looks into on this machine."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    configured = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    folders = {*configured.split(), *os.environ.get("PIP_FIND_LINKS", "").split()}
    return [wheel for folder in folders if Path(folder).is_dir() for wheel in Path(folder).glob(pattern)]


@pytest.fixture(scope="session")
def built(engine: Engine, context: Path) -> Callable[[str], str]:
    """Builds the image of a target, once; returns its name."""
    done: set[str] = set()

    def build(target: str) -> str:
        image = f"quadriga:{target}"
        if target not in done:
            engine.build(context, image, "--file", str(context / "docker" / "Dockerfile"), "--target", target)
            done.add(target)
        return image

    return build
