"""Writes the dashboards of `quadriga_dashboards` as JSON (`make dashboards`), or says what is stale (`--check`)."""

import sys
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from quadriga_dashboards import backends, model, server

FOLDER: Final = Path(__file__).parent / "dashboards"


def generate() -> dict[str, str]:
    """The dashboards' files: name -> JSON."""
    return {
        f"{module.__name__.rpartition('.')[2]}.json": encode(module.build()) for module in (backends, model, server)
    }


def encode(board: Dashboard) -> str:
    """A dashboard as it lies in its file."""
    return JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False).encode(board) + "\n"


def stale() -> list[str]:
    """The names of files that differ from what their modules generate, or that no module generates."""
    lying = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    fresh = generate()
    return sorted(name for name in lying.keys() | fresh.keys() if lying.get(name) != fresh.get(name))


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if names := stale():
            raise SystemExit(f"stale: {', '.join(names)}; run `make dashboards` and commit what changes")
    else:
        for name, text in generate().items():
            (FOLDER / name).write_text(text)
