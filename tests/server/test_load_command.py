"""`quadriga load` without a server: what its options become, what is refused, what it shows and returns."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import load_reports
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from running_server import run_cli

from quadriga.cli import main
from quadriga.commands import load as command
from quadriga.commands.load_display import Display, Lines, print_report
from quadriga_client.load.arrivals import ClosedLoop, Constant, Poisson, Trace
from quadriga_client.load.formats import write
from quadriga_client.load.mlperf import MlperfSettings
from quadriga_client.load.options import Levels, LoadOptions, Scenarios, Search
from quadriga_client.load.report import Mlperf, Report, Slo, Window


class Session:
    """In the place of a load test: keeps the options, and gives the report that a test wants."""

    def __init__(self) -> None:
        self.options: LoadOptions | None = None
        self.report: Report = load_reports.report([load_reports.row()])
        self.raises: BaseException | None = None
        self.signal: signal.Signals | None = None

    def __call__(
        self, client: Any, options: LoadOptions, observer: Any, *, hold: Callable[[], None], **texts: str
    ) -> Report:
        self.options = options
        if self.raises is not None:
            raise self.raises
        if self.signal is not None:
            try:
                signal.raise_signal(self.signal)
            except KeyboardInterrupt:
                self.report = replace(self.report, interrupted=True)
        hold()
        observer.phase("asking the server")
        for row in self.report.rows:
            observer.level(ClosedLoop(int(row.level)))
            observer.row(row)
        return self.report


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    """What runs in the place of a load test; no server is asked whether it is there."""
    session = Session()

    @contextmanager
    def connection(target: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(command, "run_load_test", session)
    monkeypatch.setattr(command, "connection", connection)
    return session


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["load", "same_onnx", *arguments])


def options(session: Session, *arguments: str) -> LoadOptions:
    """What the arguments become."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.stderr
    assert session.options is not None
    return session.options


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        ((), Levels(tuple(map(ClosedLoop, (1, 2, 4, 8, 16, 32))))),
        (("--concurrency", "1,5"), Levels((ClosedLoop(1), ClosedLoop(5)))),
        (("--rate", "100:300:100"), Levels((Poisson(100), Poisson(200), Poisson(300)))),
        (("--rate", "2.5", "--seed", "4"), Levels((Poisson(2.5, 4),))),
        (("--rate", "50", "--arrivals", "constant"), Levels((Constant(50),))),
    ],
)
def test_which_load(session: Session, arguments: tuple[str, ...], plan: Levels) -> None:
    assert options(session, *arguments).plan == plan


def test_a_search_for_a_rate(session: Session) -> None:
    plan = options(session, "--slo", "p99<15ms").plan
    assert isinstance(plan, Search)
    assert (plan.objective.text, plan.spread, plan.first) == ("p99<15ms", "poisson", None)
    plan = options(session, "--slo", "p99<15ms", "--rate", "80", "--arrivals", "constant").plan
    assert isinstance(plan, Search)
    assert (plan.spread, plan.first) == ("constant", 80)


def test_a_trace(session: Session, tmp_path: Path) -> None:
    (tmp_path / "day.txt").write_text("# a day\n0\n0.25\n1\n")
    trace = Trace((0, 250_000_000, 1_000_000_000), tmp_path / "day.txt")
    assert options(session, "--trace", str(tmp_path / "day.txt")).plan == Levels((trace,))


def test_scenarios_of_mlperf(session: Session) -> None:
    session.report = load_reports.report(mlperf=(Mlperf(scenario="Offline", valid=True, reasons=(), summary={}),))
    shared = ("--mlperf-seconds", "3", "--mlperf-queries", "9", "--connections", "2")
    plain = MlperfSettings(min_duration=3, min_queries=9, connections=2)
    plan = options(session, "--mlperf", "offline", "--mlperf", "SingleStream", *shared).plan
    assert plan == Scenarios((("Offline", plain), ("SingleStream", plain)))
    plan = options(session, "--mlperf", "Server", "--mlperf", "Offline", "--rate", "80", "--slo", "p90<1s").plan
    server = MlperfSettings(target_qps=80, target_percentile=90, target_latency_ms=1000, connections=4)
    assert plan == Scenarios((("Server", server), ("Offline", MlperfSettings(connections=4))))


def test_how_it_is_measured_and_what_is_sent(session: Session) -> None:
    found = options(
        session,
        *("--url", "somewhere:7", "--timeout", "3", "--version", "2", "--rows", "5", "--connections", "6"),
        *("--processes", "2", "--window", "0.5", "--tolerance", "0.2", "--max-windows", "9", "--measured-windows", "4"),
        *("--seed", "7"),
        *("--shape", "image:3,8,8", "--shape", "a:b:1", "--metrics", "somewhere:8", "--no-ceiling"),
    )
    assert (found.url, found.model, found.version, found.timeout) == ("somewhere:7", "same_onnx", "2", 3)
    assert (found.rows, found.shapes, found.file) == (5, {"image": (3, 8, 8), "a:b": (1,)}, None)
    assert (found.connections, found.processes, found.seed) == (6, 2, 7)
    settings = found.measurement
    assert (settings.window_seconds, settings.tolerance) == (0.5, 0.2)
    assert (settings.most_windows, settings.measured_windows) == (9, 4)
    assert (found.metrics_url, found.server_side, found.ceiling) == ("somewhere:8", True, False)
    found = options(session, "--input", "a.npy", "--no-server-side")
    assert (found.file, found.server_side, found.ceiling, found.tls, found.metadata) == (
        Path("a.npy"), False, True, None, (),
    )  # fmt: skip


def test_a_token_goes_along_and_stays_out_of_the_report(session: Session, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "tokens").chmod(0o600)
    found = options(session, "--token-file", str(tmp_path / "tokens"))
    assert found.metadata == (("authorization", "Bearer 0123456789abcdef0123456789abcdef"),)
    result = invoke("--token-file", str(tmp_path / "tokens"), "--url", "elsewhere:7")
    assert result.exit_code == 1
    assert "would go to elsewhere:7 in plain text" in result.stderr
    assert "0123456789" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--concurrency 0", "it must be above 0"),
        ("--concurrency 1.5", "it must be whole"),
        ("--concurrency 8:1", "give the lower end first"),
        ("--rate fast", "'fast' is not a number"),
        ("--rate 5 --concurrency 1", "--concurrency and --rate are different loads"),
        ("--trace a --slo p99<1s", "--trace and --slo are different loads"),
        ("--concurrency 1 --mlperf Offline", "--concurrency and --mlperf are different loads"),
        ("--slo p99", "is no bound"),
        ("--slo p99<1s --rate 1,2", "with --slo, --rate is one number, got 2"),
        ("--arrivals constant", "--arrivals says how the requests of --rate or --slo are spread"),
        ("--mlperf Offline --arrivals constant", "--arrivals says how"),
        ("--rate 5 --arrivals sometimes", "'sometimes' is not one of 'poisson', 'constant'"),
        ("--mlperf Sometimes", "'Sometimes' is not one of 'singlestream',"),
        ("--mlperf Server", "Server needs --rate"),
        ("--mlperf Server --rate 1,2", "with --mlperf, --rate is one number, got 2"),
        ("--mlperf Server --rate 1 --slo mean<1s", "MLPerf judges by one percentile"),
        ("--mlperf Server --rate 1 --slo p90<1s,p99<2s", "MLPerf judges by one percentile"),
        ("--mlperf Offline --rate 1", "for the scenario Server, which is not asked for"),
        ("--mlperf-queries 5", "go with --mlperf"),
        ("--shape x", "expected an input's name and its sizes"),
        ("--shape x:1,,2", "expected an input's name and its sizes"),
        ("--shape x:1 --input a.npy", "leave out --shape"),
        ("--metrics a:1 --no-server-side", "--metrics is where the server's own figures are"),
        ("--rows 0", "'--rows'"),
        ("--window 0", "'--window'"),
        ("--window inf", "must be a number above 0"),
        ("--max-windows 2", "'--max-windows'"),
        ("--measured-windows 0", "'--measured-windows'"),
        ("--processes 5", "each of the 5 processes needs a connection, got 4"),
        ("--timeout 0", "'--timeout'"),
        ("--output .", "is a directory"),
    ],
)
def test_wrong_options_are_told_in_a_line(session: Session, tmp_path: Path, arguments: str, says: str) -> None:
    (tmp_path / "trace").write_text("0\n1\n")
    result = invoke(*(str(tmp_path / "trace") if each == "a" else each for each in arguments.split()))
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split("Error: ")[1].split())
    assert session.options is None


def test_a_model_has_a_name(session: Session) -> None:
    result = CliRunner().invoke(main, ["load", ""])
    assert (result.exit_code, session.options) == (2, None)
    assert "the model's name is empty" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--output", "missing/report.json"), "there is no folder missing"),
        (("--output", "report.xyz"), "no format is known by the end of the name 'report.xyz'"),
        (("--trace", "missing.txt"), "cannot read the trace missing.txt: No such file"),
        (("--token-file", "missing"), "missing"),
        (("--tls-key", "key.pem"), "client_key and client_chain together"),
    ],
)
def test_files_that_cannot_be_used_are_told_before_the_run(
    session: Session, arguments: tuple[str, ...], says: str
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert session.options is None


def test_reports_are_written_by_their_suffix(session: Session, tmp_path: Path) -> None:
    names = ("a.json", "a.csv", "a.perf_analyzer.csv", "a.md", "a.html")
    outputs = [text for name in names for text in ("--output", str(tmp_path / name))]
    result = invoke(*outputs, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_report_that_cannot_be_written_is_told_and_the_others_are_written(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()

    def run_and_lose_the_folder(*arguments: Any, **texts: Any) -> Report:
        (tmp_path / "gone").rmdir()
        return session.report

    monkeypatch.setattr(command, "run_load_test", run_and_lose_the_folder)
    result = invoke("--output", str(tmp_path / "gone" / "a.json"), "--output", str(tmp_path / "b.json"))
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert (tmp_path / "b.json").exists()
    assert "8 callers" in result.stdout


def test_json_goes_to_standard_output_alone(session: Session) -> None:
    result = invoke("--json")
    document = json.loads(result.stdout)
    assert (document["schema"], document["rows"][0]["level"]) == ("quadriga.load/1", 8)
    assert "8 callers: 1,000/s, p50" in result.stderr


@pytest.mark.parametrize(
    ("report", "status", "says"),
    [
        (load_reports.report([load_reports.row(stable=False, saturated=True)]), 0, ""),
        (load_reports.report([load_reports.row(), load_reports.row(errors={"UNAVAILABLE": 1})]), 3, ""),
        (load_reports.report([load_reports.silent_row()]), 1, "Error: no request was answered with OK"),
        (load_reports.report([load_reports.row()], error="the server went away"), 1, "Error: the server went away"),
        (load_reports.report(error="the server went away"), 1, "Error: the server went away"),
        (load_reports.report([load_reports.row()], interrupted=True), 130, ""),
        (load_reports.report(interrupted=True), 130, ""),
        (
            load_reports.report(
                [load_reports.row(errors={"UNAVAILABLE": 1})],
                slo=Slo(objective="p99<15ms", rate=80.0, failed_rate=90.0),
            ),
            0,
            "",
        ),
        (load_reports.report([load_reports.row()], slo=Slo(objective="p99<15ms", rate=None, failed_rate=9.0)), 3, ""),
        (load_reports.report(mlperf=(Mlperf(scenario="Server", valid=True, reasons=(), summary={}),)), 0, ""),
        (load_reports.report(mlperf=(Mlperf(scenario="Server", valid=False, reasons=(), summary={}),)), 3, ""),
    ],
)
def test_the_exit_status(session: Session, report: Report, status: int, says: str) -> None:
    session.report = report
    result = invoke("--quiet")
    assert result.exit_code == status
    assert result.stderr.strip().startswith(says)
    assert bool(result.stderr) is bool(says)


def test_ctrl_c_before_there_is_anything_to_report(session: Session) -> None:
    session.raises = KeyboardInterrupt()
    result = invoke("--output", "a.json")
    assert result.exit_code == 128 + signal.SIGINT
    assert not Path("a.json").exists()


def test_sigterm_before_there_is_anything_to_report(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run_load_test", lambda *arguments, **texts: signal.raise_signal(signal.SIGTERM))
    result = invoke()
    assert (result.exit_code, result.output) == (128 + signal.SIGTERM, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, None])
def test_signals_while_the_report_is_written_and_printed_do_not_cost_it(
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    first: signal.Signals | None,
) -> None:
    """Whether or not one has ended the measurement."""
    session.signal = first

    def signalled(work: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: Any) -> None:
            signal.raise_signal(number)
            work(*arguments)
            signal.raise_signal(number)

        return run

    monkeypatch.setattr(command, "write", signalled(write))
    monkeypatch.setattr(command, "print_report", signalled(print_report))
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    result = invoke("--output", str(tmp_path / "a.json"))
    assert result.exit_code == (0 if first is None else 128 + first)
    assert json.loads((tmp_path / "a.json").read_text())["interrupted"] is (first is not None)
    assert "8 callers" in result.stdout
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_nobody_answers() -> None:
    result = invoke("--url", "127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr == "Error: no server answers at 127.0.0.1:1; start one with `quadriga serve`\n"


def test_a_missing_package_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "hdrh.py").write_text("raise ModuleNotFoundError(\"No module named 'hdrh'\", name='hdrh')\n")
    path = os.pathsep.join((str(tmp_path), *filter(None, sys.path)))
    result = run_cli("load", "same_onnx", env={"PYTHONPATH": path})
    expected = "Error: quadriga load needs an extra: pip install 'quadriga[load]' (No module named 'hdrh')\n"
    assert (result.returncode, result.stderr) == (1, expected)


def test_the_report_fits_a_terminal_of_eighty_columns() -> None:
    rows = [
        load_reports.row(16),
        load_reports.row(32, stable=False),
        load_reports.row(1500, "open", errors={"UNAVAILABLE": 12}, stable=False, notes=("It took a nap.",)),
        load_reports.row(64, saturated=True),
        load_reports.silent_row(128),
    ]
    console = Console(width=80, file=StringIO(), record=True)
    print_report(console, replace(load_reports.full_report(), rows=tuple(rows)))
    text = console.export_text()
    assert "…" not in text
    assert next(line for line in text.splitlines() if line.startswith("16 callers")).split()[-1] == "stable"
    # The level and the verdict take two lines here.
    assert next(line for line in text.splitlines() if line.startswith("1,500/s")).split()[-1] == "requests"
    for verdict in ("unstable", "failed", "saturated", "no answers"):
        assert verdict in text
    # A generator's own figures are in brackets, as the warning above the table says, and no other ones.
    saturated = next(line for line in text.splitlines() if line.startswith("64 callers")).split()
    assert saturated[2] == "[1,000]"
    assert [word for word in saturated[2:8] if (word[0], word[-1]) != ("[", "]")] == []
    assert [line for line in text.splitlines() if "[" in line and not line.startswith("64 callers")] == []
    for said in (
        "It took a nap.", "UNAVAILABLE", "QUEUE", "TRANSPORT", "p99<15ms", "Server: INVALID",
        "Min duration: 3 s of 60 s", "2,450 answers per second",
    ):  # fmt: skip
        assert said in " ".join(text.split())
    for left_out in ("Some CPU", "agreeing windows", "random numbers"):
        assert left_out not in text


def test_what_ended_a_test_early_is_shown() -> None:
    console = Console(width=80, file=StringIO(), record=True)
    print_report(console, load_reports.report(error="the server went away"))
    assert "The test ended early: the server went away" in console.export_text()


def test_a_terminal_shows_the_level_that_runs_and_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = StringIO()
    with Display(Console(file=stream, force_terminal=True, width=80)) as display:
        display.phase("asking the server")
        display.level(ClosedLoop(8))
        display.row(load_reports.row(8))
        display.level(Poisson(500.0))
        stream.truncate(0)
        display.window(Window(seconds=1.0, throughput=493.21, p99_ms=12.34, measured=False))
        shown = stream.getvalue()
        display.window(Window(seconds=2.0, throughput=0.0, p99_ms=None, measured=False))
        display.window(Window(seconds=1.0, throughput=493.21, p99_ms=12.34, measured=True))
    assert "8 callers" in shown
    assert "500/s poisson: warm-up window 1, of 1.0 s: 493/s, p99 12.3 ms" in shown
    assert "500/s poisson: window 1, of 1.0 s: 493/s, p99 12.3 ms" in stream.getvalue()
    assert "window 2, of 2.0 s: 0/s, no answers" in stream.getvalue()


def test_files_get_a_line_for_what_is_done() -> None:
    stream = StringIO()
    lines = Lines(Console(file=stream, width=20))
    lines.phase("asking the server for [b]bold[/b]")
    lines.level(ClosedLoop(8))
    lines.window(Window(seconds=1.0, throughput=10.0, p99_ms=12.34, measured=False))
    lines.row(load_reports.row(8))
    lines.row(load_reports.silent_row(9))
    first, second, third = stream.getvalue().splitlines()
    assert first == "asking the server for [b]bold[/b]"
    assert second.startswith("8 callers: 1,000/s, p50 ")
    assert second.endswith(", stable")
    assert third == "9 callers: 0/s, no answers"
