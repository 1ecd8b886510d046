"""Confined workers: what a hostile model may still do, that real ones go on answering, and what is told where."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from own_backends import OWN_BACKENDS
from running_server import ON_CPU, START_SECONDS, RunningServer, run_cli, wait_for, write_fake

from quadriga.confinement import lacking
from quadriga_client import Client, RetryPolicy, errors

REAL = ("same_savedmodel", "same_keras", "same_torchscript", "same_onnx")
SECRETS = {"OTEL_EXPORTER_OTLP_HEADERS": "key=x", "SOME_API_KEY": "x", "QUADRIGA_HOST": "127.0.0.1"}
ROW = np.zeros((1, 4), np.float32)
ONCE = RetryPolicy(attempts=1)
#: What a model needs, and may do also where it is confined.
ALLOWED = {"own model", "own temporary file", "socket pair", "signal to itself", "own limits"}
FORBIDDEN = {
    "secret", "other model", "writing beside the model", "emptying a file", "program", "network", "datagram",
    "local socket", "datagram pair", "shared memory by number", "program in memory", "signal",
    "signals of a descriptor", "limits of the server", "memory of the server", "environment of the server",
}  # fmt: skip

pytestmark = pytest.mark.skipif(bool(lacking()), reason="this machine's kernel cannot confine a process wholly")


@pytest.fixture(scope="module")
def transport() -> str:
    """Workers know of none."""
    return "auto"


@pytest.fixture
def prying(start: Callable[..., RunningServer], tmp_path: Path) -> Callable[..., RunningServer]:
    """Starts servers of a model that tries what it should not, beside another one."""
    secret, victim = tmp_path / "tokens", tmp_path / "victim"
    secret.write_text("first-token\n")

    def run(*arguments: str) -> RunningServer:
        victim.write_text("still here")
        repository = tmp_path / "repository"
        other = write_fake(repository, "other")
        write_fake(repository, "prying")
        server: RunningServer = start(
            "--repository", str(repository), "--model-control", "explicit", "--load-model", "other", *arguments,
            env=OWN_BACKENDS | SECRETS,
        )  # fmt: skip
        settings = {"secret": str(secret), "victim": str(victim), "other": str(other)}
        settings["port"] = server.http.rpartition(":")[2]
        lines = ['backend = "own_backends:Prying"', 'default_model_filename = "model.fake"', "[parameters]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        (repository / "prying" / "model.toml").write_text("\n".join(lines))
        with Client(server.grpc) as client:
            client.load_model("prying")
            assert client.infer("prying", ROW)["x"].shape == (1, 4)
        wait_for(lambda: "prying/1: descriptors: " in server.log, "the worker's last line")
        return server

    return run


def attempts(server: RunningServer) -> dict[str, str]:
    """How each attempt of the prying model's worker went."""
    return dict(re.findall(r"prying/1: tried ([a-z ]+): (\w+)", server.log))


def test_a_model_that_is_not_confined_may_do_all_that_the_server_may(prying: Callable[..., RunningServer]) -> None:
    server = prying()
    assert attempts(server) == dict.fromkeys(ALLOWED | FORBIDDEN, "done")
    (environment,) = re.findall(r"prying/1: environment: (.*)", server.log)
    assert "SOME_API_KEY" in environment  # a backend of one's own may need it
    assert not re.search("QUADRIGA_|OTEL_", environment)


def test_a_confined_model_has_what_it_needs_and_nothing_else(
    prying: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = prying("--confine-workers", "required")
    tried = attempts(server)
    assert {name for name, outcome in tried.items() if outcome == "done"} == ALLOWED
    assert {name for name, outcome in tried.items() if outcome == "PermissionError"} == FORBIDDEN
    assert (tmp_path / "victim").read_text() == "still here"
    (environment,) = re.findall(r"prying/1: environment: (.*)", server.log)
    assert not re.search("QUADRIGA_|OTEL_|SOME_API_KEY", environment)


@pytest.mark.parametrize("mode", ["off", "required"])
def test_a_worker_holds_no_descriptor_but_its_own(prying: Callable[..., RunningServer], mode: str) -> None:
    server = prying("--confine-workers", mode)
    (descriptors,) = re.findall(r"prying/1: descriptors: (.*)", server.log)
    kinds = [name for name in descriptors.split() if not name.startswith("/memfd:quadriga-slab")]
    assert sorted(kinds) == ["/dev/null", "pipe:", "pipe:", "socket:"]


def test_what_settings_name_can_be_read_too(prying: Callable[..., RunningServer], tmp_path: Path) -> None:
    server = prying("--confine-workers", "on", "--worker-read", str(tmp_path / "tokens"))
    assert (attempts(server)["secret"], attempts(server)["other model"]) == ("done", "PermissionError")


@pytest.mark.timeout(600)
def test_real_models_answer_confined_also_from_a_template(
    start: Callable[..., RunningServer], demo_repository: Path
) -> None:
    loads = [argument for name in REAL for argument in ("--load-model", name)]
    common = ("--repository", str(demo_repository), "--model-control", "explicit", *loads)
    server = start(*common, "--confine-workers", "required", env=ON_CPU)
    images = np.random.default_rng(7).random((3, 32, 32, 3), np.float32)
    with Client(server.grpc) as client:
        answers = [client.infer(name, images)["scores"] for name in REAL]
        for answer in answers[1:]:  # they are one network in four formats
            np.testing.assert_allclose(answer, answers[0], rtol=1e-3, atol=1e-3)
        assert all(confined(server.worker_of(name)) for name in REAL)
        usual = psutil.Process(server.process.pid).nice()
        assert {psutil.Process(server.worker_of(name)).nice() for name in REAL} == {usual}
        wait_for(lambda: "template of torchscript is ready" in server.log, "the template", START_SECONDS)
        spawned = server.worker_of("same_torchscript")
        psutil.Process(spawned).send_signal(signal.SIGKILL)
        wait_for(lambda: server.worker_of("same_torchscript") != spawned, "a forked worker")
        assert psutil.Process(server.worker_of("same_torchscript")).ppid() != server.process.pid
        again = client.infer("same_torchscript", images)["scores"]
        assert np.array_equal(again, answers[REAL.index("same_torchscript")])
        assert confined(server.worker_of("same_torchscript"))
    assert "not wholly confined" not in server.log


def confined(pid: int) -> bool:
    """Whether a process has a seccomp filter, no new privileges, and none of root's."""
    fields = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    powers = int(fields["CapEff"], 16) & ~(1 << 2)
    return (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip(), powers) == ("1", "2", 0)


def test_no_worker_may_gain_privileges_in_any_mode(start: Callable[..., RunningServer], repository: Path) -> None:
    server = start("--repository", str(repository))
    status = Path(f"/proc/{server.worker_of('echo')}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t0" in status


HOSTILE_TORCHSCRIPT = """
import sys, torch

class Reading(torch.nn.Module):
    def forward(self, x):
        read = torch.from_file(%r, shared=False, size=%d, dtype=torch.uint8)
        return x.sum(dim=1, keepdim=True) * 0 + read.to(torch.float32).unsqueeze(0)

torch.jit.script(Reading()).save(sys.argv[1])
"""
HOSTILE_SAVEDMODEL = """
import sys, tensorflow as tf

class Reading(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        read = tf.io.decode_raw(tf.io.read_file(%r), tf.uint8)[:%d]
        return {"read": tf.reduce_sum(x, 1, keepdims=True) * 0 + tf.cast(read, tf.float32)[None]}

module = Reading()
tf.saved_model.save(module, sys.argv[1], signatures=module.__call__.get_concrete_function())
"""
DECLARED = """
[[input]]
name = "x"
data_type = "TYPE_FP32"
dims = [4]
[[output]]
name = "read"
data_type = "TYPE_FP32"
dims = [5]
"""


@pytest.mark.parametrize(
    ("script", "file", "config"),
    [
        (HOSTILE_TORCHSCRIPT, "model.pt", f"max_batch_size = 4\n{DECLARED}"),
        (HOSTILE_SAVEDMODEL, "model.savedmodel", ""),
    ],
    ids=["torchscript", "savedmodel"],
)
def test_a_model_file_that_reads_other_files_does_so_only_where_it_is_not_confined(
    start: Callable[..., RunningServer], tmp_path: Path, script: str, file: str, config: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"token")
    folder = tmp_path / "repository" / "reading"
    (folder / "1").mkdir(parents=True)
    if config:
        (folder / "model.toml").write_text(config)
    exporter = tmp_path / "export.py"  # TorchScript wants to see source
    exporter.write_text(script % (str(secret), 5))
    subprocess.run([sys.executable, str(exporter), str(folder / "1" / file)], check=True, timeout=120)
    common = ("--repository", str(tmp_path / "repository"), "--templates", "off")
    server = start(*common)
    with Client(server.grpc) as client:
        (read,) = client.infer("reading", ROW).outputs.values()
        assert bytes(read[0].astype(np.uint8)) == b"token"
    server.stop()
    server = start(*common, "--confine-workers", "required")
    with Client(server.grpc, retry=ONCE) as client, pytest.raises(errors.RpcFailed, match="is UNAVAILABLE") as caught:
        client.infer("reading", ROW)
    assert re.search("[Pp]ermission denied|failed in the TorchScript interpreter", str(caught.value))


def test_memory_beyond_the_limit_fails_the_load_and_not_the_server(
    start: Callable[..., RunningServer], demo_repository: Path
) -> None:
    server = start(
        "--repository", str(demo_repository), "--model-control", "explicit", "--load-model", "same_torchscript",
        "--load-model", "same_onnx", "--worker-memory-bytes", str(128 * 1024 * 1024), "--templates", "off",
    )  # fmt: skip
    with Client(server.grpc, retry=ONCE) as client:
        assert client.infer("same_onnx", np.zeros((1, 32, 32, 3), np.float32))["scores"].shape == (1, 10)
        with pytest.raises(errors.RpcFailed, match="is UNAVAILABLE"):
            client.infer("same_torchscript", np.zeros((1, 32, 32, 3), np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--worker-memory-bytes", "1000"), "worker_memory_bytes is 1000; expected 0 (any), or 67108864 to "),
        (("--worker-read", "/usr"), "worker_read is given, but confine_workers is 'off'"),
        (("--confine-workers", "on", "--worker-read", "/nowhere"), "worker_read /nowhere does not exist"),
    ],
)
def test_settings_that_cannot_be_are_one_line(repository: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run_cli("serve", "--repository", str(repository), *arguments)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert message in result.stderr
