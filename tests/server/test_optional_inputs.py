"""Optional inputs, from a model's configuration to its contract and to what is warmed up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from quadriga.backends.base import ModelLoadError, ModelSource, presences
from quadriga.backends.contract import settle, whole
from quadriga.backends.fake import FakeBackend
from quadriga.config_file import load_model_config
from quadriga.errors import ConfigError
from quadriga.specs import ANY, ModelSpec, TensorSpec


def tensor(name: str, *shape: int, optional: bool = False) -> TensorSpec:
    return TensorSpec(name=name, datatype="FP32", shape=shape, optional=optional)


class TestConfiguration:
    TEXT = '[[{kind}]]\nname = "x"\ndata_type = "TYPE_FP32"\ndims = [4]\noptional = {value}\n'

    def write(self, folder: Path, **fields: Any) -> None:
        (folder / "model.toml").write_text(self.TEXT.format(**fields))

    @pytest.mark.parametrize(("value", "optional"), [("true", True), ("false", False)])
    def test_an_input_is_declared_optional(self, tmp_path: Path, value: str, optional: bool) -> None:
        self.write(tmp_path, kind="input", value=value)
        config = load_model_config(tmp_path, "m")
        assert config.inputs == (tensor("x", 4, optional=optional),)
        assert [item.optional for item in config.to_message(None, "").input] == [optional]

    def test_an_output_cannot_be(self, tmp_path: Path) -> None:
        self.write(tmp_path, kind="output", value="true")
        with pytest.raises(ConfigError, match="unknown key 'optional'"):
            load_model_config(tmp_path, "m")


class TestContract:
    FOUND = (tensor("a", ANY, 4), tensor("b", ANY, 2, optional=True))

    def settled(self, *declared: TensorSpec, dispensable: Sequence[str] = ("b",)) -> list[bool]:
        source = ModelSource(path="file", inputs=declared)
        spec = settle(source, self.FOUND, [tensor("y", ANY)], dispensable=dispensable)
        return [item.optional for item in spec.inputs]

    def test_the_file_says_so(self) -> None:
        assert self.settled() == [False, True]

    def test_the_configuration_may_demand_it_all_the_same(self) -> None:
        assert self.settled(tensor("a", 4), tensor("b", 2)) == [False, False]

    def test_the_configuration_may_say_so(self) -> None:
        assert self.settled(tensor("a", 4), tensor("b", 2, optional=True)) == [False, True]

    def test_an_input_that_is_needed_is_refused_by_name(self) -> None:
        with pytest.raises(ModelLoadError, match="input 'a' is declared optional, but file cannot run without it"):
            self.settled(tensor("a", 4, optional=True), tensor("b", 2, optional=True))
        with pytest.raises(ModelLoadError, match="input 'b' is declared optional"):
            self.settled(dispensable=())

    def test_it_is_kept_where_the_configuration_alone_names_tensors(self) -> None:
        assert whole([tensor("x", 4, optional=True)], batches=True) == [tensor("x", ANY, 4, optional=True)]


def spec_of(*optional: bool) -> ModelSpec:
    inputs = tuple(tensor(str(index), 1, optional=it_is) for index, it_is in enumerate(optional))
    return ModelSpec(inputs=inputs, outputs=inputs, batches=True)


def test_every_choice_of_few_is_warmed_up() -> None:
    assert presences(spec_of(False, False)) == [(True, True)]
    assert presences(spec_of(False, True)) == [(True, True), (True, False)]
    assert set(presences(spec_of(True, False, True))) == {(a, True, b) for a in (True, False) for b in (True, False)}
    assert presences(spec_of(*[True] * 4, False)) == [(True,) * 5, (False,) * 4 + (True,)]


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_the_fake_stands_in_for_what_is_left_out(tmp_path: Path, datatype: str) -> None:
    file = tmp_path / "model.fake"
    file.write_text(
        '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2]},'
        f' {{"name": "y", "datatype": "{datatype}", "shape": [1], "optional": true}}]}}'
    )
    backend = FakeBackend()
    spec = backend.load(ModelSource(path=str(file)))
    (x, y) = backend.infer([None, None])
    assert (x.tolist(), y.tolist()) == ([[0, 0]], [[b"" if datatype == "BYTES" else 0]])
    assert spec.inputs[1].optional
