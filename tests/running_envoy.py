"""A real Envoy with the committed configuration before some servers, for system tests."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import yaml
from programs import find
from running_server import END_SECONDS, wait_for

CONFIGURATION: Final = Path(__file__).parents[1] / "docker" / "envoy" / "envoy.yaml"
_FREE_PORT: Final = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}


def installed() -> str | None:
    """The path of the program."""
    return find("envoy")


def configuration(servers: Sequence[str]) -> dict[str, Any]:
    """The committed one, listening on free ports of the loopback, and with `servers`, HOST:PORT, in place of a name."""
    changed: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    changed["admin"]["address"] = _FREE_PORT
    (listener,) = changed["static_resources"]["listeners"]
    listener["address"] = _FREE_PORT
    (cluster,) = changed["static_resources"]["clusters"]
    cluster["type"] = "STATIC"
    del cluster["dns_refresh_rate"]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [_endpoint(server) for server in servers]}]
    return changed


def _endpoint(server: str) -> dict[str, Any]:
    host, _, port = server.rpartition(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}


class RunningEnvoy:
    """Stands before servers while the context lasts.

    Attributes:
        grpc: HOST:PORT that it listens on.
    """

    def __init__(self, program: str, folder: Path, servers: Sequence[str]) -> None:
        """Starts with `servers`, HOST:PORT; its files are below `folder`."""
        self.grpc = ""
        self._admin_file = folder / "admin"
        self._log = folder / "envoy.log"
        (folder / "envoy.yaml").write_text(yaml.safe_dump(configuration(servers)))
        command = [
            program,
            *("--config-path", str(folder / "envoy.yaml")),
            *("--admin-address-path", str(self._admin_file)),
            *("--concurrency", "1", "--log-level", "warning", "--disable-hot-restart"),
        ]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        try:
            (listener,) = wait_for(self._listeners, "Envoy to listen")
            address = listener["local_address"]["socket_address"]
            self.grpc = f"{address['address']}:{address['port_value']}"
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def healthy(self) -> set[str]:
        """The servers, HOST:PORT, that it sends calls to now."""
        return {
            _address(host)
            for host in self._hosts()
            if host["health_status"].get("eds_health_status") == "HEALTHY" and len(host["health_status"]) == 1
        }

    def answered(self) -> dict[str, int]:
        """By server, HOST:PORT: the calls that were answered well."""
        return {
            _address(host): int(next(stat.get("value", 0) for stat in host["stats"] if stat["name"] == "rq_success"))
            for host in self._hosts()
        }

    def counter(self, name: str) -> int:
        """One of the cluster's statistics."""
        stats = self._get(f"/stats?format=json&filter=^cluster.quadriga.{name}$")["stats"]
        return int(stats[0]["value"])

    def _hosts(self) -> list[dict[str, Any]]:
        (cluster,) = self._get("/clusters?format=json")["cluster_statuses"]
        hosts: list[dict[str, Any]] = cluster["host_statuses"]
        return hosts

    def _listeners(self) -> list[dict[str, Any]]:
        assert self._process.poll() is None, self._log.read_text()
        if not self._admin_file.exists():
            return []
        try:
            listeners: list[dict[str, Any]] = self._get("/listeners?format=json").get("listener_statuses", [])
        except OSError:  # not yet, or not any more: the next look tells
            return []
        return listeners

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self._admin_file.read_text()}{path}", timeout=END_SECONDS) as response:
            return json.load(response)

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()


def _address(host: dict[str, Any]) -> str:
    address = host["address"]["socket_address"]
    return f"{address['address']}:{address['port_value']}"
