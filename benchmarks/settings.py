"""The flags that the measurements share."""

from dataclasses import dataclass
from pathlib import Path

from load import LoadClient


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure with.

    Attributes:
        repository: Folder of models.
        models: For served beside bare.
        model: For everything else.
        transports: Those that `served` and `onnx` take turns with; everything else runs on the first.
        client: Keeps closed loops going.
        seconds: Per closed loop.
        rounds: Whatever is compared takes turns in each; medians are shown.
        requests: Of the memory measurement.
        peers: Folder of installed peers, or None.
        peer_commands: Start command by peer.
    """

    repository: Path
    models: tuple[str, ...]
    model: str
    transports: tuple[str, ...]
    client: LoadClient
    seconds: float
    rounds: int
    requests: int
    peers: Path | None
    peer_commands: dict[str, str]
