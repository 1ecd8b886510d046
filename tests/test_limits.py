"""docs/limits.md against the code: each row's value is the code's, and no limit of the code is missing."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from quadriga import model_config, queue_policy, warm_up
from quadriga.commands.serve import serve
from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga_client import Client, RetryPolicy

ROOT = Path(__file__).parents[1]
SERVER = ROOT / "server" / "quadriga"
PAGE = (ROOT / "docs" / "limits.md").read_text()
#: What a limit of the code is called. A new one has to be in the table, or here with the reason why it bounds nothing.
LIMIT = re.compile(r"^_?(MOST|LONGEST|LEAST|MAX)(_|$)|_(SECONDS|BYTES|LINES|SLOTS|ATTEMPTS|SIZE)$|^SLOTS$")
NO_LIMITS = {
    "model_config.SMALL_MODEL_BYTES", "workers.channel._READ_BYTES",
    "workers.child._READ_BYTES", "transports.native._DRAIN_LOOK_SECONDS", "transports.delivery._LOOK_SECONDS",
    "transports.delivery._FEW_BYTES",
    "workers.warm_up._LONGEST_TEXT", "workers.process._MOST_OOM_ADJUSTMENT", "guilty_requests._SAMPLE_BYTES",
    # In the rows of their settings:
    "model_config.DEFAULT_MAX_BATCH_SIZE", "queue_policy.DEFAULT_MAX_QUEUE_SIZE",
    "model_config.DEFAULT_BATCH_SECONDS", "model_config.DEFAULT_LOAD_SECONDS",
}  # fmt: skip


class Row(NamedTuple):
    """One of the table."""

    where: str
    default: str
    may_be: str


def rows() -> Iterator[Row]:
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`"):
            yield Row(cells[0].strip("`"), *cells[1:3])


TABLE = {row.where: row for row in rows()}
FLAGS = {option.opts[0]: option for option in serve.params if isinstance(option, click.Option)}


def number(cell: str) -> float | None:
    """What a cell begins with, where that is a number."""
    found = re.match(r"\d+(\.\d+)?", cell)
    return float(found[0]) if found else None


def constants() -> Iterator[str]:
    """Names of the code's limits, with their modules', as the table has them."""
    for file in sorted(SERVER.rglob("*.py")):
        module = ".".join(file.relative_to(SERVER).with_suffix("").parts)
        if module.startswith(("backends.", "commands.", "config")):  # measurements, other programs, and the flags
            continue
        for node in ast.parse(file.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(targets[0], ast.Name) and LIMIT.search(targets[0].id):
                yield f"{module}.{targets[0].id}"


def config_with(setting: str, value: float) -> ServerConfig:
    given: dict[str, Any] = {setting: value}
    return ServerConfig(repositories=(ROOT,), **given)


def test_no_row_stands_twice() -> None:
    assert len(TABLE) == len(list(rows())) > 50


def test_every_limit_of_the_code_is_in_the_table() -> None:
    found = {name for name in constants() if isinstance(value_of(name), (int, float))}
    in_table = {where for where in TABLE if "." in where and where == where.split("(")[0]}
    assert found - in_table - NO_LIMITS == set(), "add a row to docs/limits.md"


def value_of(where: str) -> Any:
    module, _, name = where.rpartition(".")
    return getattr(import_module(f"quadriga.{module}"), name)


@pytest.mark.parametrize("where", [where for where in TABLE if re.search(r"\._?[A-Z_]+$", where)])
def test_a_constant_is_as_the_table_says(where: str) -> None:
    assert value_of(where) == number(TABLE[where].default)


def test_every_flag_that_takes_a_number_is_in_the_table() -> None:
    numbers = {flag for flag, option in FLAGS.items() if option.type in (click.INT, click.FLOAT)}
    assert numbers == {where for where in TABLE if where.startswith("--")}


@pytest.mark.parametrize("flag", [where for where in TABLE if where.startswith("--")])
def test_a_flag_is_as_the_table_says(flag: str) -> None:
    row, option = TABLE[flag], FLAGS[flag]
    assert option.default == number(row.default)
    setting = str(option.name)
    kind, step = (int, 1) if option.type is click.INT else (float, 0.0001)
    bounds = [kind(bound) for bound in re.findall(r"\d+(?:\.\d+)?", row.may_be)]
    above, open_ended = row.may_be.startswith("above"), row.may_be.endswith("more")
    for bound in [] if above else bounds:
        config_with(setting, bound)
    beyond = [bounds[0] - (0 if above else step)]
    if len(bounds) > 1:  # an upper bound, or a least value beside a 0 that stands for something else
        beyond.append(bounds[1] - step if open_ended else bounds[1] + 1)
    for value in beyond:
        with pytest.raises(ConfigError, match=setting):
            config_with(setting, value)


def test_the_keys_of_configurations_are_as_the_table_says() -> None:
    ranges = {
        **queue_policy._LIMITS,
        **model_config._LIMITS,
        "model_warmup.batch_size": warm_up._BATCH_SIZES,
        "model_warmup.count": warm_up._COUNTS,
    }
    assert {key: "{} to {}".format(*limits) for key, limits in ranges.items()} == {
        where: row.may_be for where, row in TABLE.items() if where in ranges
    }
    defaults = {
        "max_queue_size": queue_policy.QueuePolicy().max_queue_size,
        "default_timeout_microseconds": queue_policy.QueuePolicy().default_timeout_us,
        "max_queue_delay_microseconds": queue_policy.DynamicBatching().max_queue_delay_us,
        "priority_levels": queue_policy.DynamicBatching().priority_levels,
        "max_batch_size": model_config.DEFAULT_MAX_BATCH_SIZE,
        "instance_group.count": model_config.InstanceGroup().count,
        "version_policy.latest.num_versions": model_config.VersionPolicy().count,
        "model_warmup.count": warm_up.WarmUp(name="x", batch_size=1, inputs={}).count,
    }
    assert {key: number(TABLE[key].default) for key in defaults} == defaults


@pytest.mark.parametrize("where", [where for where in TABLE if where.endswith("=)")])
def test_a_clients_default_is_as_the_table_says(where: str) -> None:
    name, _, parameter = where.removesuffix("=)").partition("(")
    of = {"Client": Client, "RetryPolicy": RetryPolicy}[name]
    assert inspect.signature(of).parameters[parameter].default == number(TABLE[where].default)
