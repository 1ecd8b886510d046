"""What a report says of the machine and the packages, so that figures are compared with their like. Client's process.

Everything is read from files, below a root that tests choose; what is not there is left out, and nothing is raised.
Names of the host and its users are not read: reports are shown around.
"""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any, Final

from quadriga_client.load.report import Fingerprint

#: Packages that decide how fast the client or a server in the same environment is, as they are called on PyPI.
PACKAGES: Final = (
    "quadriga",
    "grpcio",
    "protobuf",
    "numpy",
    "msgspec",
    "hpack",
    "hdrhistogram",
    "mlcommons-loadgen",
    "pygrpc-native",
    "uvloop",
    "onnxruntime",
    "torch",
    "tensorflow",
    "keras",
)
_ROOT: Final = Path("/")
_CPU: Final = Path("sys/devices/system/cpu")
_MEGABYTE: Final = 1e6
#: /proc/cpuinfo's key for the model, by architecture: x86, POWER, some ARM and MIPS.
_CPU_KEYS: Final = ("model name", "cpu", "Processor", "cpu model")
#: In a control group's path or the environment of a container's first process.
_CONTAINER: Final = re.compile(r"docker|containerd|kubepods|libpod|podman|lxc|garden")
#: Above this a memory limit of the first version of control groups means none.
_NO_LIMIT: Final = 2**60


def fingerprint() -> Fingerprint:
    """Of this machine and this process' environment, as of now."""
    return Fingerprint(
        machine=machine(_ROOT, affinity(), os.environ, gpus()),
        versions={"python": platform.python_version(), **versions(PACKAGES)},
        load_average=load_average(_ROOT),
    )


def machine(
    root: Path, allowed: int | None, environment: Mapping[str, str], gpus: Sequence[str] = ()
) -> dict[str, str]:
    """The machine, in texts; keys for which nothing is known are not there.

    Args:
        root: Below it lie proc, sys and etc.
        allowed: Cores that this process may use.
        environment: Of this process.
        gpus: Their names.
    """
    cores = _cores(root)
    facts = {
        "cpu": _cpu(root),
        "architecture": platform.machine(),
        "cores": cores and str(cores),
        "cores_allowed": allowed and str(allowed),
        "cpu_limit": cpu_limit(root),
        "memory_mb": _memory_mb(root),
        "memory_limit_mb": memory_limit_mb(root),
        "os": _os(root),
        "kernel": _text(root / "proc/sys/kernel/osrelease"),
        "governor": _governor(root),
        "smt": {"1": "on", "0": "off"}.get(_text(root / _CPU / "smt/active")),
        "virtual": "yes"
        if re.search(r"^flags\s*:.*\bhypervisor\b", _text(root / "proc/cpuinfo"), re.MULTILINE)
        else "",
        "container": container(root, environment),
        "gpu": ", ".join(gpus),
    }
    return {name: text for name, text in facts.items() if text}


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those that are installed; none of them is imported."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except (PackageNotFoundError, KeyError, OSError, UnicodeDecodeError):  # or an installation that was cut short
            continue
    return found


def affinity() -> int | None:
    """How many cores the scheduler may give to this process; None where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def load_average(root: Path) -> float:
    """Processes that ran or wanted to, on average over the last minute; 0 where the system does not tell."""
    try:
        return float(_text(root / "proc/loadavg").split()[0])
    except (IndexError, ValueError):
        return 0.0


def cpu_limit(root: Path) -> str | None:
    """Cores' worth of CPU time that the control group leaves to this process, as "1.50"; None where all is its own."""
    limits = [_ratio(*_text(folder / "cpu.max").partition(" ")[::2]) for folder in _groups(root, "")]
    limits += [
        _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))
        for folder in _groups(root, "cpu")
    ]
    known = [limit for limit in limits if limit is not None]
    return f"{min(known):.2f}" if known else None


def memory_limit_mb(root: Path) -> str | None:
    """Memory that the control group leaves to this process, in 10^6 bytes; None where there is no limit."""
    texts = [_text(folder / "memory.max") for folder in _groups(root, "")]
    texts += [_text(folder / "memory.limit_in_bytes") for folder in _groups(root, "memory")]
    known = [int(text) for text in texts if text.isdecimal() and int(text) < _NO_LIMIT]
    return f"{min(known) / _MEGABYTE:.0f}" if known else None


def container(root: Path, environment: Mapping[str, str]) -> str:
    """What kind of container this process is in; empty where none shows."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    if "KUBERNETES_SERVICE_HOST" in environment:
        return "kubernetes"
    if named := environment.get("container", ""):  # set by systemd-nspawn, podman and LXC
        return named
    found = _CONTAINER.search(_text(root / "proc/1/cgroup")) or _CONTAINER.search(_text(root / "proc/self/cgroup"))
    return found[0] if found else ""


def gpus() -> list[str]:
    """Names of the GPUs that NVIDIA's driver shows; none where pynvml or the driver is not there."""
    try:
        nvml: Any = import_module("pynvml")
        nvml.nvmlInit()
        names = [nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())]
        nvml.nvmlShutdown()
    except Exception:  # whatever a foreign library raises: a fingerprint is no reason to end a load test
        return []
    return [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _cpu(root: Path) -> str:
    found = dict(re.findall(r"^([^\n:]*?)[ \t]*:[ \t]*(.*)$", _text(root / "proc/cpuinfo"), re.MULTILINE))
    return next((" ".join(found[key].split()) for key in _CPU_KEYS if found.get(key)), "")


def _cores(root: Path) -> int:
    """Logical cores that are online, as "0-3,6" lists them."""
    count = 0
    for piece in _text(root / _CPU / "online").split(","):
        if match := re.fullmatch(r"(\d+)(?:-(\d+))?", piece):
            count += int(match[2] or match[1]) - int(match[1]) + 1
    return count or len(re.findall(r"^processor\s*:", _text(root / "proc/cpuinfo"), re.MULTILINE))


def _memory_mb(root: Path) -> str:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return f"{int(found[1]) * 1024 / _MEGABYTE:.0f}" if found else ""


def _os(root: Path) -> str:
    found = re.search(r"^PRETTY_NAME=[\"']?(.*?)[\"']?$", _text(root / "etc/os-release"), re.MULTILINE)
    return found[1] if found else ""


def _governor(root: Path) -> str:
    """Of all cores: the one that they share, or those that there are."""
    files = (root / _CPU).glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({text for file in files if (text := _text(file))}))


def _groups(root: Path, controller: str) -> list[Path]:
    """The folders of this process' control group and of those above it; of version 1 for a controller, else of 2.

    In a container the path is the host's, and the group itself lies at the top.
    """
    top = root / "sys/fs/cgroup" / controller
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            steps = PurePosixPath(path).parts[1:]
            if ".." not in steps:  # as it is where the group lies outside of what this process may see
                return [top.joinpath(*steps[:depth]) for depth in range(len(steps) + 1)]
    return [top]


def _ratio(quota: str, period: str) -> float | None:
    """Of microseconds; None for "max", -1 and what is no number."""
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period)
