"""The study's files hold its tables, its sentences and all of its figures."""

from pathlib import Path

import msgspec
import pytest
from studies import calls, served, study
from study import figures
from study.figures import Study
from study.ways import MODEL, MODULE, PREDICT, SERVED, SIGNATURE
from study.writing import html, markdown, write


@pytest.fixture(scope="module")
def measured() -> Study:
    """A study with figures of every part."""
    ways = (
        ("tensorflow", SIGNATURE, 1.0),
        ("pytorch", MODULE, 1.0),
        ("keras on tensorflow", PREDICT, 50.0),
        ("keras on tensorflow", MODEL, 5.0),
        ("keras on tensorflow", SERVED, 1.0),
        ("onnx", SERVED, 0.1),
    )
    timed = [calls(*way[:2], batch, way[2], threads) for way in ways for batch in (1, 8, 32) for threads in (1, 2)]
    loaded = [
        served(server, rate, level=level, naive=":" in server, saturated=server == "onnx")
        for level in (1.0, 8.0)
        for server, rate in (
            ("tensorflow", 1000.0),
            ("pytorch", 1500.0),
            ("keras on tensorflow", 1000.0),
            ("onnx", 9000.0),
            ("keras on tensorflow: model.predict(x)", 20.0),
        )
    ]
    epochs = {"tensorflow": 0.5, "pytorch": 0.5, "keras on tensorflow": 0.6, "keras on torch": 3.0}
    return study(epochs=epochs, timed=timed, loaded=loaded)


def test_every_part_has_its_table(measured: Study) -> None:
    text = markdown(measured)
    for row in (
        "| training of the same layers, per epoch after the first |",
        "| Keras | 0 | 12 |",
        "| Keras on PyTorch | 11,000 |",
        "| TensorFlow, Keras' layers | 11,000 |",
        "| PyTorch | 11,000 | 1.00 | 0.500 (0.495–0.505) | 2.00 | 2,000 | 97.5% (97.5%–97.5%) |",  # noqa: RUF001
        "| Keras on TensorFlow: model.predict(x) | 50.0 (50.0–50.0) | 50.0 (50.0–50.0) |",  # noqa: RUF001
        "| That Keras is slower than both | in training | holds in 1 |",
        "| Keras on TensorFlow | model.predict(x) |",
        "| naive: Keras on TensorFlow: model.predict(x) |",
    ):
        assert row in text, row
    assert text.count("ms per call on 1 thread:") == text.count("ms per call on 2 threads:") == 1


def test_the_generators_own_figures_stand_in_brackets(measured: Study) -> None:
    assert "| ONNX | \\[9,000\\]" in markdown(measured)


def test_the_page_has_plots_and_all_figures(measured: Study) -> None:
    page = html(measured)
    assert page.count("<svg") == 4
    data = page.partition('id="study">')[2].partition("</script>")[0]
    assert msgspec.json.decode(data.encode(), type=Study) == measured


def test_a_busy_machine_is_told_of() -> None:
    assert "Something else was running" in markdown(study(others=0.3))
    assert "Something else was running" not in markdown(study(others=0.01))


def test_a_study_of_nothing_can_be_written(tmp_path: Path) -> None:
    paths = write(study(), tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "study.md", "study/report.html", "study/study.json",
    ]  # fmt: skip
    assert all(path.read_text() for path in paths)


def test_figures_survive_their_file(measured: Study) -> None:
    assert figures.decode(figures.encode(measured)) == measured


def test_figures_of_another_kind_are_refused(measured: Study) -> None:
    with pytest.raises(msgspec.ValidationError):
        figures.decode(figures.encode(measured).replace(figures.SCHEMA, "quadriga.load/1"))
