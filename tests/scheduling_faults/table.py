"""What a table of faults is made of: each fault is a function that patches the real classes."""

from collections.abc import Callable
from typing import Any

import pytest

Patch = pytest.MonkeyPatch
Fault = Callable[[Patch], None]


class Faults(list[Fault]):
    """A table; a test is to find each of them."""

    def add(self, fault: Fault) -> Fault:
        """Takes one in, as a decorator."""
        self.append(fault)
        return fault


def around(patch: Patch, owner: Any, name: str, new: Callable[..., Any]) -> None:
    """Replaces a method; `new` is given the old one before its arguments."""
    old = getattr(owner, name)
    patch.setattr(owner, name, lambda *values, **options: new(old, *values, **options))


def nothing(*values: Any) -> None:
    """Instead of doing something."""
