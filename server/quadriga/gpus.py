"""Which GPUs workers will find, told without a driver: the server process loads none. Server process."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_DEVICE: Final = re.compile(r"nvidia\d+")
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> range:
    """The indices that a framework gives to the GPUs it finds in this environment.

    Args:
        environment: CUDA_VISIBLE_DEVICES in it hides all other GPUs, and all that it names after one it cannot mean.
        devices: Where the operating system shows GPUs.
    """
    if (listed := environment.get(_VISIBLE)) is not None:
        names = [name.strip() for name in listed.split(",")]
        hidden = next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
        return range(hidden)
    return range(sum(_DEVICE.fullmatch(device.name) is not None for device in devices.iterdir()))
