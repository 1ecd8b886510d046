"""The conformance kit against servers in the test's process: one that keeps every rule, others that break one each."""

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from conformance_stand_in import MODELS, Model, Refused, StandIn, add, report_of
from grpc_health.v1 import health_pb2
from running_server import run_cli

from quadriga.commands.conformance import status_of
from quadriga_client.conformance import (
    GROUPS,
    INTERRUPT,
    Level,
    Outcome,
    Report,
    ServerGone,
    Settings,
    all_checks,
    catalogue_markdown,
    comparison_markdown,
    junit_xml,
    read_report,
    run,
    select,
)
from quadriga_client.conformance.tensors import Spec, Tensor, example, outputs_of
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import DATATYPES, ITEM_SIZES

DOCS = Path(__file__).parents[2] / "docs"


class FirstInputFirst(StandIn):
    def order(self, model: Model, request: pb.ModelInferRequest) -> list[str]:
        return [spec.name for spec in model.inputs]


class NoId(StandIn):
    def respond(self, model: Model, request: pb.ModelInferRequest, outputs: Mapping[str, Tensor]) -> Any:
        response = super().respond(model, request, outputs)
        response.id = ""
        return response


class OwnId(StandIn):
    def respond(self, model: Model, request: pb.ModelInferRequest, outputs: Mapping[str, Tensor]) -> Any:
        response = super().respond(model, request, outputs)
        response.id = request.id or "made up"
        return response


class AnyVersion(StandIn):
    def find(self, name: str, version: str) -> Model:
        return super().find(name, "")


class ErrorsAreOk(StandIn):
    def ModelInfer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        try:
            return super().ModelInfer(request)
        except Refused:
            return pb.ModelInferResponse(model_name=request.model_name)


class WrongSum(StandIn):
    def __init__(self) -> None:
        super().__init__()
        self.models["conformance_add"].compute = lambda tensors: add([tensors[0], tensors[0]])


class ByPosition(StandIn):
    def read_inputs(self, model: Model, request: pb.ModelInferRequest) -> list[Tensor]:
        read = dict(zip((spec.name for spec in model.inputs), super().read_inputs(model, request), strict=True))
        return [read[tensor.name] for tensor in request.inputs]


class AllOutputs(StandIn):
    def wanted(self, model: Model, request: pb.ModelInferRequest) -> list[str]:
        return [spec.name for spec in model.outputs]


class BothRepresentations(StandIn):
    def write(self, response: pb.ModelInferResponse, output: Any, tensor: Tensor, parameters: Any) -> None:
        super().write(response, output, tensor, parameters)
        if tensor.datatype == "FP32":
            output.contents.fp32_contents.extend(tensor.array().ravel().tolist())


class VariableIsMinusTwo(StandIn):
    def shape_shown(self, spec: Spec) -> tuple[int, ...]:
        return (spec.shape[0], *(-2 if size < 0 else size for size in spec.shape[1:]))


class EverythingIsReady(StandIn):
    def ModelReady(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=True)


class PadsRaw(StandIn):
    def sized(self, spec: Spec, shape: tuple[int, ...], raw: bytes) -> bytes:
        if spec.datatype in ITEM_SIZES:
            size = math.prod(shape) * ITEM_SIZES[spec.datatype]
            raw = raw[:size] + bytes(max(0, min(size, 10**6) - len(raw)))
        return super().sized(spec, shape, raw)


class PadsTyped(StandIn):
    def typed(self, spec: Spec, shape: tuple[int, ...], contents: pb.InferTensorContents) -> bytes:
        if spec.datatype == "FP32" and 0 < len(contents.fp32_contents) < math.prod(shape):
            contents.fp32_contents.append(0.0)
        return super().typed(spec, shape, contents)


class BigEndian(StandIn):
    def typed(self, spec: Spec, shape: tuple[int, ...], contents: pb.InferTensorContents) -> bytes:
        raw = super().typed(spec, shape, contents)
        return np.frombuffer(raw, "<i4").byteswap().tobytes() if spec.datatype == "INT32" else raw


class WrapsRange(StandIn):
    def typed(self, spec: Spec, shape: tuple[int, ...], contents: pb.InferTensorContents) -> bytes:
        if spec.datatype == "INT8":
            return np.array(contents.int_contents, dtype="<i4").astype("i1").tobytes()
        return super().typed(spec, shape, contents)


class CountsRequests(StandIn):
    def count(self, model: Model, rows: int) -> None:
        super().count(model, 1)


class CountsRefused(StandIn):
    def ModelInfer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        try:
            return super().ModelInfer(request)
        except Refused:
            if model := self.models.get(request.model_name):
                self.count(model, 1)
            raise


class StreamBackwards(StandIn):
    def ModelStreamInfer(self, requests: Iterator[pb.ModelInferRequest]) -> Iterable[pb.ModelStreamInferResponse]:
        return reversed([self.stream_answer(request) for request in requests])


class StreamEndsWithError(StandIn):
    def stream_answer(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
        answer = super().stream_answer(request)
        if answer.error_message:
            raise Refused(grpc.StatusCode.NOT_FOUND, answer.error_message)
        return answer

    def ModelStreamInfer(self, requests: Iterator[pb.ModelInferRequest]) -> Iterable[pb.ModelStreamInferResponse]:
        return [self.stream_answer(request) for request in requests]


class NoFinalFlag(StandIn):
    def stream_answer(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
        answer = super().stream_answer(request)
        answer.infer_response.parameters.clear()
        return answer


class NoOffset(StandIn):
    def offset(self, parameters: Any) -> int:
        return 0


class WorstFirst(StandIn):
    def best(self, row: Any, k: int) -> tuple[Any, list[int]]:
        return row, np.argsort(row)[:k].tolist()


class WrongBatchSize(StandIn):
    def max_batch_size(self) -> int:
        return 0


class UnknownServicesServe(StandIn):
    def set_health(self, servicer: Any) -> None:
        super().set_health(servicer)
        servicer.set("quadriga_conformance_no_such_model", health_pb2.HealthCheckResponse.SERVING)


class StaysLoaded(StandIn):
    """Not ready after it was unloaded, yet it answers."""

    def ModelInfer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        model = self.models.get(request.model_name)
        if model is None or model.loaded:
            return super().ModelInfer(request)
        return pb.ModelInferResponse(model_name=model.name)


class NoServerMetadata(StandIn):
    ServerMetadata = None  # type: ignore[assignment]


class GarbledLive(StandIn):
    def ServerLive(self, request: pb.ServerLiveRequest) -> Any:
        return b"\xff\xff\xff"


class OnlyClaimsStatistics(StandIn):
    ModelStatistics = None  # type: ignore[assignment]


BROKEN: list[tuple[type[StandIn], str]] = [
    (FirstInputFirst, "OIP-INFER-RAW-ORDER"),
    (NoId, "OIP-INFER-ID"),
    (NoId, "OIP-INFER-CONCURRENT"),
    (OwnId, "OIP-INFER-ID-ABSENT"),
    (AnyVersion, "OIP-INFER-VERSION-UNKNOWN"),
    (AnyVersion, "OIP-META-VERSION-UNKNOWN"),
    (AnyVersion, "OIP-HEALTH-MODEL-VERSION-UNKNOWN"),
    (ErrorsAreOk, "OIP-ERR-MODEL-UNKNOWN"),
    (ErrorsAreOk, "OIP-ERR-MODEL-EMPTY"),
    (ErrorsAreOk, "OIP-ERR-DATATYPE"),
    (WrongSum, "OIP-INFER-ADD"),
    (ByPosition, "OIP-INFER-INPUTS-BY-NAME"),
    (AllOutputs, "OIP-INFER-OUTPUTS-SUBSET"),
    (AllOutputs, "OIP-ERR-OUTPUT-UNKNOWN"),
    (BothRepresentations, "OIP-INFER-ONE-REPRESENTATION"),
    (VariableIsMinusTwo, "OIP-META-SHAPES"),
    (EverythingIsReady, "OIP-HEALTH-MODEL-UNKNOWN"),
    (PadsRaw, "OIP-ERR-RAW-SHORT"),
    (PadsRaw, "OIP-ERR-RAW-LONG"),
    (PadsTyped, "OIP-ERR-TYPED-SHORT"),
    (BigEndian, "OIP-INFER-TYPED-INT32"),
    (WrapsRange, "OIP-ERR-TYPED-RANGE"),
    (CountsRequests, "TRITON-STATS-ROWS"),
    (CountsRefused, "TRITON-STATS-REFUSED"),
    (StreamBackwards, "TRITON-STREAM-ORDER"),
    (StreamEndsWithError, "TRITON-STREAM-ERROR"),
    (NoFinalFlag, "TRITON-STREAM-FINAL"),
    (NoOffset, "TRITON-SHM-OFFSET"),
    (WorstFirst, "TRITON-CLASS-ORDER"),
    (WrongBatchSize, "TRITON-CONFIG-BATCH"),
    (UnknownServicesServe, "HEALTH-CHECK-UNKNOWN"),
    (UnknownServicesServe, "HEALTH-WATCH-UNKNOWN"),
    (StaysLoaded, "TRITON-REPO-UNLOAD-LOAD"),
    (NoServerMetadata, "OIP-META-SERVER"),
    (GarbledLive, "OIP-HEALTH-LIVE"),
]


@pytest.fixture(scope="module")
def right() -> Iterator[Report]:
    """What the kit finds of the server that keeps every rule."""
    with StandIn() as server:
        yield report_of(server)


def test_a_server_that_keeps_every_rule_passes_every_check(right: Report) -> None:
    assert {entry.id: entry.message for entry in right.entries if entry.outcome is not Outcome.PASSED} == {}
    assert right.conforms
    assert (right.server, right.server_version, right.ended_early) == ("stand-in", "1.2", "")
    assert right.roles["add"] == ["conformance_add"]


@pytest.mark.parametrize(("server_class", "check"), BROKEN, ids=[f"{kind.__name__}-{id}" for kind, id in BROKEN])
def test_a_broken_rule_is_found_by_its_check(server_class: type[StandIn], check: str) -> None:
    with server_class() as server:
        (entry,) = report_of(server, check).entries
    assert entry.outcome is Outcome.FAILED, entry
    assert entry.message


def test_what_is_missing_is_unsupported_unless_it_is_claimed() -> None:
    class Honest(OnlyClaimsStatistics):
        extensions = ()

    with OnlyClaimsStatistics() as server:
        (claimed,) = report_of(server, "TRITON-STATS-MODEL").entries
    with Honest() as server:
        (honest,) = report_of(server, "TRITON-STATS-MODEL").entries
    assert claimed.outcome is Outcome.FAILED
    assert "advertises 'statistics'" in claimed.message
    assert honest.outcome is Outcome.UNSUPPORTED


def test_only_binding_rules_make_a_server_nonconforming() -> None:
    with OwnId() as server:
        should = report_of(server, "OIP-INFER-ID-ABSENT")
    with NoId() as server:
        must = report_of(server, "OIP-INFER-ID")
    assert (should.count()[Outcome.FAILED], should.conforms) == (1, True)
    assert (must.count()[Outcome.FAILED], must.conforms) == (1, False)


def test_a_model_that_cannot_play_its_role_is_a_skip_with_the_reason() -> None:
    models = {"echo": ["conformance_image"], "add": ["conformance_echo_bytes"], "image": ["nobody"]}
    with StandIn() as server:
        settings = Settings(url=server.url, models=models, timeout=20.0)
        report = run(settings, select(ids=["OIP-INFER-ID", "OIP-INFER-ADD", "OIP-INFER-IMAGE"]))
    reasons = {entry.id: entry.message for entry in report.entries}
    assert {entry.outcome for entry in report.entries} == {Outcome.SKIPPED}
    assert "'conformance_image' is no echo: output 'scores' is FP32[-1, 5]" in reasons["OIP-INFER-ID"]
    assert "'conformance_echo_bytes' is no add" in reasons["OIP-INFER-ADD"]
    assert "'nobody': ModelMetadata answered NOT_FOUND" in reasons["OIP-INFER-IMAGE"]
    assert report.roles == {"echo": [], "add": [], "image": []}


def test_models_are_left_alone_unless_control_is_allowed() -> None:
    with StandIn() as server:
        report = report_of(server, "TRITON-REPO-UNLOAD-LOAD", "TRITON-REPO-LOAD-UNKNOWN", control=False)
    assert {entry.outcome for entry in report.entries} == {Outcome.SKIPPED}
    assert all("--allow-model-control" in entry.message for entry in report.entries)


def test_a_server_that_goes_away_ends_the_run_with_what_was_learned() -> None:
    class Dies(StandIn):
        def ModelMetadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
            if request.name == "quadriga_conformance_no_such_model":
                self.stop()
            return super().ModelMetadata(request)

    with Dies() as server:
        settings = Settings(url=server.url, models=MODELS, timeout=2.0)
        report = run(settings, select(ids=["OIP-HEALTH-LIVE", "OIP-META-MODEL-UNKNOWN", "OIP-INFER-ID"]))
    assert [entry.outcome for entry in report.entries] == [Outcome.PASSED, Outcome.ERROR, Outcome.SKIPPED]
    assert report.ended_early == "the server is gone"
    assert not report.conforms


def test_an_interrupt_ends_the_run_with_what_was_learned() -> None:
    def interrupt(entry: Any) -> None:
        raise KeyboardInterrupt

    with StandIn() as server:
        settings = Settings(url=server.url, models=MODELS, timeout=20.0)
        report = run(settings, select(ids=["OIP-HEALTH-LIVE", "OIP-HEALTH-READY"]), interrupt)
    assert [entry.outcome for entry in report.entries] == [Outcome.PASSED, Outcome.SKIPPED]
    assert report.ended_early == INTERRUPT


def test_the_status_tells_what_a_run_came_to(right: Report) -> None:
    first, *rest = right.entries
    failed = replace(right, entries=[replace(first, level=Level.MUST, outcome=Outcome.FAILED), *rest])
    error = replace(right, entries=[replace(first, level=Level.MUST, outcome=Outcome.ERROR), *rest])
    should = replace(right, entries=[replace(first, level=Level.SHOULD, outcome=Outcome.FAILED), *rest])
    assert [status_of(report) for report in (right, should, failed, error)] == [0, 0, 1, 1]
    assert status_of(replace(right, ended_early="the server is gone")) == 2
    assert status_of(replace(error, ended_early="the server is gone")) == 2
    assert status_of(replace(failed, ended_early="the server is gone")) == 1
    assert status_of(replace(failed, ended_early=INTERRUPT)) == 130


def test_no_server_at_all(unused_port: int) -> None:
    with pytest.raises(ServerGone):
        run(Settings(url=f"127.0.0.1:{unused_port}", models=MODELS, timeout=0.3), select(ids=["OIP-HEALTH-LIVE"]))


@pytest.mark.parametrize("datatype", DATATYPES)
def test_examples_differ_by_seed_and_fit_their_shape(datatype: str) -> None:
    one, other = example(datatype, (2, 3)), example(datatype, (2, 3), seed=7)
    assert one.raw != other.raw
    response = pb.ModelInferResponse(raw_output_contents=[one.raw])
    response.outputs.add(name="x", datatype=datatype, shape=[2, 3])
    assert outputs_of(response) == {"x": one}
    assert example(datatype, (2, 0)).raw == b""


def test_the_catalogue_is_whole() -> None:
    checks = all_checks()
    assert len({check.id for check in checks}) == len(checks) >= 60
    assert {check.group for check in checks} == set(GROUPS)
    assert all(check.rule.endswith(".") and check.source for check in checks)
    # What binds is the Open Inference Protocol's own text; its extensions' documents do not.
    assert all(check.group.startswith("oip.") for check in checks if check.level is Level.MUST)
    table = catalogue_markdown(checks)
    assert all(f"| `{check.id}` |" in table for check in checks)


def test_groups_and_checks_are_selected_and_unknown_ones_refused() -> None:
    assert {check.group for check in select(["oip"])} == {name for name in GROUPS if name.startswith("oip.")}
    assert [check.id for check in select(ids=["REFLECTION-LIST"])] == ["REFLECTION-LIST"]
    assert "OIP-INFER-ID" in {check.id for check in select(["health.v1"], ["OIP-INFER-ID"])}
    with pytest.raises(ValueError, match=r"no group 'oi'.*oip\.health"):
        select(["oi"])
    with pytest.raises(ValueError, match="no check 'NOTHING'"):
        select(ids=["NOTHING"])


def test_a_report_is_read_back_as_it_was_written(right: Report, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(right.document()))
    again = read_report(file)
    assert again.document() == right.document()
    file.write_text(json.dumps({**right.document(), "schema": 99}))
    with pytest.raises(ValueError, match="schema 99"):
        read_report(file)
    file.write_text("[]")
    with pytest.raises(ValueError, match="is no report"):
        read_report(file)


def outcomes_of_every_kind(right: Report) -> Report:
    first, second, third, fourth, *rest = right.entries
    changed = [
        replace(first, outcome=Outcome.FAILED, message="a\x00|b", level=Level.MUST),
        replace(second, outcome=Outcome.FAILED, message="only should", level=Level.SHOULD),
        replace(third, outcome=Outcome.UNSUPPORTED, message="has none"),
        replace(fourth, outcome=Outcome.ERROR, message="the kit failed"),
    ]
    return replace(right, entries=[*changed, *rest])


def test_junit_fails_what_binds_and_tells_the_rest(right: Report) -> None:
    report = outcomes_of_every_kind(right)
    root = ElementTree.fromstring(junit_xml(report))
    suite = root[0]
    counted = {name: suite.get(name) for name in ("failures", "errors", "skipped")}
    assert counted == {"failures": "1", "errors": "1", "skipped": "1"}
    cases = {str(case.get("name")): case for case in root.iter("testcase")}
    assert len(cases) == len(report.entries)
    must, should, unsupported, error = (cases[entry.id] for entry in report.entries[:4])
    assert "|b" in str(must.find("failure").get("message"))  # type: ignore[union-attr]
    assert should.find("failure") is None
    assert should.findtext("system-out") == "SHOULD rule broken: only should"
    assert unsupported.find("skipped") is not None
    assert error.find("error") is not None


def test_reports_side_by_side(right: Report) -> None:
    text = comparison_markdown([("good", right), ("bad", outcomes_of_every_kind(right))])
    first = right.entries[0].id
    assert f"| `{first}` | MUST | passed | **failed** |" in text
    assert "What failed at bad" in text
    assert "What failed at good" not in text
    assert "a\x00\\|b" in text


def test_the_documents_tables_are_the_tools_own() -> None:
    names = ("quadriga-native", "quadriga-grpcio", "triton", "mlserver", "kserve")
    reports = [(name, read_report(DOCS / "conformance" / "reports" / f"{name}.json")) for name in names]
    text = (DOCS / "conformance.md").read_text()
    assert f" -->\n{comparison_markdown(reports)}<!-- end of results -->" in text
    assert f" -->\n{catalogue_markdown(all_checks())}<!-- end of catalogue -->" in text


def test_the_command_writes_reports_and_tells_by_its_status(tmp_path: Path) -> None:
    files = ("--json", str(tmp_path / "report.json"), "--junit", str(tmp_path / "report.xml"))
    with NoId() as server:
        broken = run_cli("conformance", "--url", server.url, "--check", "OIP-INFER-ID", *files)
        kept = run_cli("conformance", "--url", server.url, "--group", "oip.health")
    assert (broken.returncode, kept.returncode) == (1, 0), broken.stderr
    assert "the response has id ''" in " ".join(broken.stdout.split())
    assert "1 of the 1 rules that bind" in broken.stdout
    assert "None of the" in kept.stdout
    document = json.loads((tmp_path / "report.json").read_text())
    assert (document["schema"], document["conforms"], document["server"]["name"]) == (1, False, "stand-in")
    assert [(check["id"], check["outcome"]) for check in document["checks"]] == [("OIP-INFER-ID", "failed")]
    assert ElementTree.parse(tmp_path / "report.xml").getroot()[0].get("failures") == "1"
    shown = run_cli("conformance", "--compare", str(tmp_path / "report.json"))
    assert "| `OIP-INFER-ID` | MUST | **failed** |" in shown.stdout


def test_the_command_lists_the_catalogue() -> None:
    table = run_cli("conformance", "--list", "--group", "triton.streaming")
    assert table.returncode == 0, table.stderr
    assert "TRITON-STREAM-ORDER" in table.stdout
    assert "output i repeats input i" in table.stdout
    assert "OIP-INFER-ID" not in table.stdout
    assert "| `OIP-INFER-ID` | oip.infer | MUST |" in run_cli("conformance", "--list", "--markdown").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "echo"], "expected ROLE=NAME"),
        (["--model", "sing=song"], "one of the roles echo, add, image"),
        (["--group", "nothing"], "no group 'nothing'"),
        (["--check", "nothing"], "no check 'nothing'"),
        (["--url", "http://localhost:8000"], "HOST:PORT"),
        (["--compare", "/nowhere/report.json"], "is no report of this kit"),
    ],
)
def test_the_commands_mistakes_are_told(arguments: list[str], words: str) -> None:
    result = run_cli("conformance", *arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_without_a_server(unused_port: int) -> None:
    result = run_cli("conformance", "--url", f"127.0.0.1:{unused_port}", "--timeout", "0.5")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.strip() == f"Error: no server answers at 127.0.0.1:{unused_port}"
