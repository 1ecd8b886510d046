"""What the workers of each model are confined to, as the server's settings have it. Server process.

`workers.confinement` is what a worker does of it. Each version of a model has a folder of its own that its workers may
write to, as long as it is loaded.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga.gpus import visible_gpus
from quadriga.model_files import ModelFiles
from quadriga.private_folders import WORKERS, PrivateFolders, remove_abandoned
from quadriga.workers import landlock, seccomp
from quadriga.workers.messages import Confinement

_COMPLETE_SINCE: Final = "Linux 6.2"

log = logging.getLogger("quadriga.confinement")


class ConfinementPolicy:
    """What the settings ask for, of every model."""

    def __init__(
        self, config: ServerConfig | None = None, find_gpus: Callable[[], Sequence[int]] = visible_gpus
    ) -> None:
        """Without a configuration nothing is confined.

        Raises:
            ConfigError: Confinement is required, and this machine cannot have all of it.
        """
        self._mode = config.confine_workers if config else "off"
        self._memory_bytes = config.worker_memory_bytes if config else 0
        self._readable = tuple(str(path.resolve()) for path in config.worker_read) if config else ()
        self._find_gpus = find_gpus
        self._folders = PrivateFolders(WORKERS)
        if self._mode == "off":
            return
        missing = lacking()
        if missing and self._mode == "required":
            raise ConfigError(f"confine_workers is 'required', and this machine lacks {' and '.join(missing)}")
        lacks = f", but for what needs {' and '.join(missing)}" if missing else ""
        log.info("workers are confined in files, network and signals%s", lacks)
        remove_abandoned(WORKERS)

    def of(self, model: ModelFiles, path: Path, devices: Sequence[str]) -> Confinement:
        """For the workers of one version of a model: makes the folder that they may write to.

        Args:
            model: The model.
            path: The version's file or folder.
            devices: What its workers are to run on.

        Raises:
            OSError: The machine is short of disk or inodes.
        """
        if self._mode == "off":
            return Confinement(memory_bytes=self._memory_bytes)
        gpu = any(device.startswith("cuda") for device in devices) or ("auto" in devices and bool(self._find_gpus()))
        readable = (*map(str, files_of(model, path)), *self._readable)
        return Confinement(self._mode, readable, str(self._folders.new_folder()), gpu, self._memory_bytes)

    def release(self, confinement: Confinement) -> None:
        """Removes the folder of a version whose workers have ended; in a thread."""
        if confinement.folder:
            shutil.rmtree(confinement.folder, ignore_errors=True)

    def close(self) -> None:
        """Removes what is left; no worker is."""
        self._folders.close()


def files_of(model: ModelFiles, path: Path) -> list[Path]:
    """What the workers of a version may read: its model's folder, and what its file is a link to.

    Of a model that was given as a single file: that, and what lies beside it and begins with its name, such as ONNX's
    external data; not the folder, which may be anybody's home.
    """
    if model.file is None:
        return [model.directory.resolve(), path.resolve()]
    beside = [file for file in path.parent.glob("*") if file.name.startswith(path.stem) and file.is_file()]
    return [path.resolve(), *(file.resolve() for file in sorted(beside))]


def lacking(landlock_version: int | None = None, has_seccomp: bool | None = None) -> list[str]:
    """What this machine lacks for workers to be wholly confined; nothing where it has all."""
    found = landlock.version() if landlock_version is None else landlock_version
    filters = seccomp.available() if has_seccomp is None else has_seccomp
    missing = []
    if not found:
        missing.append(
            f"Landlock ({_COMPLETE_SINCE} or newer, with landlock among its security modules; in a container, a "
            "seccomp profile that allows it)"
        )
    elif found < landlock.COMPLETE:
        missing.append(f"Landlock of version {landlock.COMPLETE} ({_COMPLETE_SINCE}; this one's is {found})")
    if not filters:
        missing.append("seccomp filters")
    return missing
