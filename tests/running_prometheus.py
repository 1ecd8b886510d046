"""A real Prometheus with the committed configuration and rules that scrapes a server every second, for system tests."""

import re
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Final, Self

import yaml
from prometheus_api import PrometheusApi
from prometheus_rules import PROMETHEUS
from running_server import END_SECONDS, wait_for

_LISTENING: Final = re.compile(r'msg="Listening on" address=(\S+)')
_EVERY_SECOND: Final = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


def installed() -> str | None:
    """The path of the program."""
    return shutil.which("prometheus")


class RunningPrometheus(PrometheusApi):
    """Listens on a free port of the loopback while the context lasts; its data are below `folder`."""

    def __init__(self, program: str, folder: Path, target: str) -> None:
        """Starts with `target`, HOST:PORT, in the place of the committed one."""
        configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        configuration["global"] = _EVERY_SECOND
        configuration["rule_files"] = [str(PROMETHEUS / each) for each in configuration["rule_files"]]
        (scrape,) = configuration["scrape_configs"]
        scrape["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        command = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ]
        self._log = folder / "prometheus.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        super().__init__("")

    def __enter__(self) -> Self:
        try:
            self.address = wait_for(self._listening, "Prometheus to listen")
            wait_for(self._ready, "Prometheus to have opened its storage")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _listening(self) -> str:
        assert self._process.poll() is None, self._log.read_text()
        match = _LISTENING.search(self._log.read_text())
        return match[1] if match else ""

    def _ready(self) -> bool:
        """Until then, every query is answered with 503."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=END_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
