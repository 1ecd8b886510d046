"""`quadriga infer` and `quadriga status`, as a user types them."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from running_server import RunningServer, run_cli

from quadriga.commands.infer import Picture, classes_table
from quadriga_client import Classification
from quadriga_proto import inference_pb2 as pb


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """A dark and a bright file."""
    files = []
    for name, level in (("dark[1].png", 0), ("bright.png", 255)):
        PIL.Image.fromarray(np.full((16, 16, 3), level, dtype=np.uint8)).save(tmp_path / name)
        files.append(str(tmp_path / name))
    return files


def error_of(*arguments: str, **options: Any) -> str:
    """The one line of a command that must fail."""
    result = run_cli(*arguments, **options)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").strip()


def test_infer_prints_classes_and_times(classifier: Any, images: list[str]) -> None:
    result = run_cli("infer", "brightness", *images, "--top-k", "2", "--url", classifier.url)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert re.match(r".*dark\[1\]\.png\s+dark 100\.0%\s+grey 0\.0%$", lines[1].rstrip())
    assert re.match(r".*bright\.png\s+bright 100\.0%\s+grey 0\.0%$", lines[2].rstrip())
    assert "2 images in 1 request" in result.stdout
    times = dict(re.findall(r"^(\S.*?) {2,}([\d,]+) *$", result.stdout, re.MULTILINE))
    assert {name: times[name] for name in ("queue", "batch", "compute", "total in the server")} == {
        "queue": "10", "batch": "20", "compute": "30", "total in the server": "70",
    }  # fmt: skip
    assert int(times["round trip"].replace(",", "")) > 0


def test_infer_prints_one_document_for_programs(classifier: Any, images: list[str]) -> None:
    result = run_cli("infer", "brightness", *images * 2, "--json", env={"QUADRIGA_URL": classifier.url})
    document = json.loads(result.stdout)
    assert (document["model"], document["version"], document["url"]) == ("brightness", "2", classifier.url)
    assert [entry["image"] for entry in document["images"]] == images * 2
    assert [entry["classes"][0]["label"] for entry in document["images"]] == ["dark", "bright"] * 2
    assert document["images"][1]["classes"][0]["index"] == 2
    assert document["images"][1]["classes"][0]["probability"] == pytest.approx(1.0, abs=1e-3)
    assert [request["rows"] for request in document["requests"]] == [3, 1]
    assert document["requests"][0]["timings"] == {
        "queue_ns": 10_000, "batch_ns": 20_000, "compute_ns": 30_000, "total_ns": 70_000,
    }  # fmt: skip
    assert all(request["round_trip_ns"] > 0 for request in document["requests"])


def test_infer_samples_a_data_set(classifier: Any) -> None:
    result = run_cli("infer", "brightness", "--sample", "5", "--url", classifier.url, "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert len(document["images"]) == 5
    assert all(entry["true_label"] in set("0123456789") for entry in document["images"])


def test_true_labels_have_a_column_where_they_are_known() -> None:
    found = [[Classification(label="three", index=3, probability=0.75)]]
    known = classes_table([Picture(name="a", image=b"", truth="eight")], found)
    assert [(column.header, list(column.cells)) for column in known.columns] == [
        ("IMAGE", ["a"]), ("TRUE LABEL", ["eight"]), ("TOP CLASSES", ["three 75.0%"]),
    ]  # fmt: skip
    assert len(classes_table([Picture(name="a", image=b"")], found).columns) == 2


def test_infer_in_vain(classifier: Any, images: list[str]) -> None:
    answered = threading.Event()

    def hang(request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        answered.wait(30)
        return pb.ModelInferResponse()

    classifier.on("ModelInfer", hang)
    line = error_of("infer", "brightness", images[0], "--url", classifier.url, "--timeout", "5")
    answered.set()
    assert line == "no answer within 5 s; --timeout allows more"


def test_infer_from_a_server_without_timings(classifier: Any, images: list[str]) -> None:
    def bare(request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        response = pb.ModelInferResponse(model_name="brightness")
        response.outputs.add(name="scores", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([0.25, 0.75])
        return response

    classifier.on("ModelInfer", bare)
    result = run_cli("infer", "brightness", images[0], "--url", classifier.url)
    assert "grey 75.0%   dark 25.0%" in result.stdout
    assert "round trip" in result.stdout
    assert "compute" not in result.stdout


def test_no_server(unused_port: int, images: list[str]) -> None:
    url = f"127.0.0.1:{unused_port}"
    expected = f"no server answers at {url}; start one with `quadriga serve`"
    assert error_of("status", "--url", url) == expected
    assert error_of("infer", "brightness", images[0], env={"QUADRIGA_URL": url}) == expected


def test_infer_says_what_is_wrong(classifier: Any, images: list[str], tmp_path: Path) -> None:
    no_image = tmp_path / "notes.txt"
    no_image.write_text("this is no image")
    infer = ("infer", "--url", classifier.url)
    assert error_of(*infer, "brightness", "missing.png") == "no such image: missing.png"
    assert "notes.txt is not an image that can be read" in error_of(*infer, "brightness", str(no_image))
    assert error_of(*infer, "nobody", images[0]) == "no model 'nobody'; there is: brightness"
    assert "no data set 'letters'" in error_of(*infer, "brightness", "--sample", "1", "--dataset", "letters")
    assert "HOST:PORT" in error_of("status", "--url", "http://localhost:8000")
    usage = run_cli(*infer, "brightness")
    assert usage.returncode == 2
    assert "give image files, or --sample N" in usage.stderr


def test_a_real_servers_models(server: RunningServer, images: list[str]) -> None:
    table = run_cli("status", "--url", server.grpc)
    assert table.returncode == 0, table.stderr
    rows = {line.split()[0]: line for line in table.stdout.splitlines()}
    assert rows["MODEL"].split()[:5] == ["MODEL", "VERSION", "FORMAT", "BACKEND", "DEVICE"]
    assert re.match(r"echo +1 +fake +fake +cpu +x FP32\[-1,4\] +x FP32\[-1,4\] +\d+ +READY", rows["echo"])
    assert re.search(r"UNAVAILABLE +made to fail", rows["broken"])

    document = json.loads(run_cli("status", "--url", server.grpc, "--json").stdout)
    assert document["url"] == server.grpc
    models = {entry["model"]: entry for entry in document["models"]}
    assert models["broken"] == {"model": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "made to fail"}
    assert models["echo"]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert (models["echo"]["backend"], models["echo"]["max_batch_size"]) == ("fake", 8)

    unknown = error_of("infer", "nobody", images[0], "--url", server.grpc)
    assert "nobody" in unknown
    assert "echo" in unknown
    assert "not one image tensor" in error_of("infer", "echo", images[0], "--url", server.grpc)
