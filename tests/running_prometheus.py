"""A real Prometheus with the committed configuration and rules that scrapes a server every second, for system tests."""

import json
import math
import re
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final, Self

import yaml
from prometheus_rules import PROMETHEUS
from running_server import END_SECONDS, wait_for

_LISTENING: Final = re.compile(r'msg="Listening on" address=(\S+)')
_EVERY_SECOND: Final = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


def installed() -> str | None:
    """The path of the program."""
    return shutil.which("prometheus")


class RunningPrometheus:
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
        self._address = ""

    def __enter__(self) -> Self:
        try:
            self._address = wait_for(self._listening, "Prometheus to listen")
            wait_for(self._ready, "Prometheus to have opened its storage")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def query(self, expr: str) -> list[dict[str, str]]:
        """The labels of all samples that a query gives now, but of those that are NaN."""
        samples = self._get("query", query=expr)["result"]
        return [sample["metric"] for sample in samples if not math.isnan(float(sample["value"][1]))]

    def label_values(self, label: str, selector: str) -> list[str]:
        """What Grafana's `label_values(selector, label)` gives."""
        values: list[str] = self._get(f"label/{label}/values", **{"match[]": selector})
        return values

    def rules(self) -> dict[str, str]:
        """By name: "ok", "unknown" where it was not evaluated yet, or what was wrong."""
        every = [rule for group in self._get("rules")["groups"] for rule in group["rules"]]
        return {rule["name"]: rule.get("lastError") or rule["health"] for rule in every}

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=END_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def _listening(self) -> str:
        assert self._process.poll() is None, self._log.read_text()
        match = _LISTENING.search(self._log.read_text())
        return match[1] if match else ""

    def _ready(self) -> bool:
        """Until then, every query is answered with 503."""
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=END_SECONDS):
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
