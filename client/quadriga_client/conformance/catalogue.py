"""The kit's list of checks: what each is called, what it holds the server to, and where that is written.

Modules of `checks` add to it when they are imported; `quadriga_client.conformance` imports them all.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quadriga_client.conformance.outcomes import Level

if TYPE_CHECKING:
    from quadriga_client.conformance.target import Target

#: Group -> the extension that a server names in ServerMetadata when it has it; empty: none stands for the group.
GROUPS: Final[dict[str, str]] = {
    "oip.health": "",
    "oip.metadata": "",
    "oip.infer": "",
    "oip.errors": "",
    "triton.config": "model_configuration",
    "triton.statistics": "statistics",
    "triton.repository": "model_repository",
    "triton.streaming": "",
    "triton.shared_memory": "system_shared_memory",
    "triton.classification": "classification",
    "triton.parameters": "parameters",
    "triton.logging": "logging",
    "triton.trace": "trace",
    "health.v1": "",
    "reflection": "",
}

#: Returns what was observed where the rule leaves something open, else nothing; raises an outcome that is not a pass.
Function = Callable[["Target"], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule, and the function that holds a server to it.

    Attributes:
        id: Stable from version to version.
        group: A key of `GROUPS`.
        level: How binding the rule is.
        rule: In one sentence.
        source: Where the rule is written.
        roles: Models that it needs.
        function: The check.
    """

    id: str
    group: str
    level: Level
    rule: str
    source: str
    roles: tuple[str, ...]
    function: Function


_CHECKS: Final[dict[str, Check]] = {}


def register(
    id: str, group: str, level: Level, rule: str, *, source: str, roles: Iterable[str] = ()
) -> Callable[[Function], Function]:
    """Adds the decorated function to the catalogue.

    Raises:
        ValueError: The id is taken, or the group is unknown.
    """

    def add(function: Function) -> Function:
        if id in _CHECKS or group not in GROUPS:
            raise ValueError(f"check {id} of group {group}: the id is taken, or the group is not in GROUPS")
        _CHECKS[id] = Check(
            id=id, group=group, level=level, rule=rule, source=source, roles=tuple(roles), function=function
        )
        return function

    return add


def all_checks() -> list[Check]:
    """Every check, by group and then as they were added."""
    order = list(GROUPS)
    return sorted(_CHECKS.values(), key=lambda check: order.index(check.group))


def select(groups: Iterable[str] = (), ids: Iterable[str] = ()) -> list[Check]:
    """The checks of some groups and those of some ids; all of them where nothing is named.

    A group's name before its dot stands for all of that name: "oip" is oip.health, oip.metadata and so on.

    Raises:
        ValueError: A group or an id is unknown.
    """
    groups, ids = list(groups), list(ids)
    for group in groups:
        if not any(_within(known, group) for known in GROUPS):
            raise ValueError(f"there is no group {group!r}; expected one of {', '.join(GROUPS)}")
    for id in ids:
        if id not in _CHECKS:
            raise ValueError(f"there is no check {id!r}; --list shows them")
    everything = all_checks()
    if not groups and not ids:
        return everything
    return [check for check in everything if check.id in ids or any(_within(check.group, group) for group in groups)]


def _within(group: str, wanted: str) -> bool:
    return group == wanted or group.startswith(f"{wanted}.")
