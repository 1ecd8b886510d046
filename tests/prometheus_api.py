"""What tests ask a Prometheus, by its HTTP API."""

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

_SECONDS: Final = 30.0


class PrometheusApi:
    """A Prometheus that runs.

    Attributes:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self.address = address

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
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None
