"""The machine's fingerprint, read from trees of files as Linux has them, and from trees that lack them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from quadriga_client.load.fingerprint import (
    container,
    cpu_limit,
    fingerprint,
    gpus,
    load_average,
    machine,
    memory_limit_mb,
    versions,
)

CPUINFO = """\
processor\t: 0
model name\t: Some  CPU @ 2.50GHz
flags\t\t: fpu avx2 hypervisor lahf_lm

processor\t: 1
model name\t: Some  CPU @ 2.50GHz
flags\t\t: fpu avx2 hypervisor lahf_lm
"""


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_machine_is_told_in_texts(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/cpuinfo": CPUINFO,
            "proc/meminfo": "MemTotal:       16384000 kB\nMemFree: 1 kB\n",
            "proc/sys/kernel/osrelease": "6.1.0-test\n",
            "proc/self/cgroup": "0::/\n",
            "etc/os-release": 'NAME="Some"\nPRETTY_NAME="Some Linux 12"\n',
            "sys/devices/system/cpu/online": "0-3,6\n",
            "sys/devices/system/cpu/smt/active": "1\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
            "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor": "performance\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/memory.max": "2000000000\n",
            ".dockerenv": "",
        },
    )
    found = machine(root, 2, {}, ["Some GPU", "Other GPU"])
    assert found.pop("architecture")
    assert found == {
        "cpu": "Some CPU @ 2.50GHz",
        "cores": "5",
        "cores_allowed": "2",
        "cpu_limit": "1.50",
        "memory_mb": "16777",
        "memory_limit_mb": "2000",
        "os": "Some Linux 12",
        "kernel": "6.1.0-test",
        "governor": "performance, powersave",
        "smt": "on",
        "virtual": "yes",
        "container": "docker",
        "gpu": "Some GPU, Other GPU",
    }


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert machine(tmp_path, None, {}).keys() <= {"architecture"}
    assert load_average(tmp_path) == 0.0


def test_files_that_hold_something_else_are_as_good_as_none(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/cpuinfo": "no colon",
            "proc/meminfo": "MemTotal: much\n",
            "proc/loadavg": "idle\n",
            "proc/self/cgroup": "garbage\n::\n0::/../../outside\n",
            "sys/devices/system/cpu/online": "all\n",
            "sys/devices/system/cpu/smt/active": "perhaps\n",
            "sys/fs/cgroup/cpu.max": "100000 0\n",
            "sys/fs/cgroup/memory.max": "max\n",
        },
    )
    (root / "etc" / "os-release").mkdir(parents=True)
    (root / "proc" / "sys" / "kernel").mkdir(parents=True)
    (root / "proc" / "sys" / "kernel" / "osrelease").write_bytes(b"\xff\xfe\n")
    assert machine(root, None, {}).keys() <= {"architecture", "kernel"}
    assert load_average(root) == 0.0


def test_cores_are_counted_where_no_list_of_them_is(tmp_path: Path) -> None:
    assert machine(tree(tmp_path, {"proc/cpuinfo": CPUINFO}), None, {})["cores"] == "2"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, "0.50"),
        # The group above is the tighter one.
        (
            {
                "proc/self/cgroup": "0::/outer/inner\n",
                "sys/fs/cgroup/outer/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/outer/inner/cpu.max": "400000 100000\n",
            },
            "2.00",
        ),
        # Version 1: the path is the host's, and the container's group lies at the top.
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/0123\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            "3.00",
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        # A path that leads out of what can be seen.
        ({"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/cpu.max": "70000 100000\n"}, "0.70"),
    ],
)
def test_the_limit_of_cpu_time_is_the_tightest(tmp_path: Path, files: Mapping[str, str], limit: str | None) -> None:
    assert cpu_limit(tree(tmp_path, files)) == limit


def test_the_first_versions_limit_of_memory_may_be_none(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "5:memory:/a\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}
    assert memory_limit_mb(tree(tmp_path, files)) is None
    files = {"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000000000\n"}
    assert memory_limit_mb(tree(tmp_path, files)) == "1000"


@pytest.mark.parametrize(
    ("files", "environment", "kind"),
    [
        ({}, {}, ""),
        ({".dockerenv": ""}, {}, "docker"),
        ({"run/.containerenv": ""}, {}, "podman"),
        ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({}, {"container": "systemd-nspawn"}, "systemd-nspawn"),
        ({"proc/1/cgroup": "1:name=systemd:/kubepods/burstable/pod1\n"}, {}, "kubepods"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, {}, ""),
    ],
)
def test_containers_are_known_by_their_marks(
    tmp_path: Path, files: Mapping[str, str], environment: Mapping[str, str], kind: str
) -> None:
    assert container(tree(tmp_path, files), environment) == kind


def test_packages_that_are_not_installed_have_no_version() -> None:
    assert versions(["grpcio", "surely-not-a-package"]).keys() == {"grpcio"}


def test_gpus_are_asked_of_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: b"first" if handle == 0 else "second",
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gpus() == ["first", "second"]


def test_without_nvml_or_its_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus() == []

    def no_driver() -> None:
        raise RuntimeError("driver not loaded")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=no_driver))
    assert gpus() == []


def test_this_machine_has_a_fingerprint() -> None:
    found = fingerprint()
    assert {"python", "quadriga", "grpcio", "numpy"} <= found.versions.keys()
    assert int(found.machine["cores"]) >= int(found.machine["cores_allowed"]) >= 1
    assert found.load_average >= 0
