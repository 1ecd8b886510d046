"""A backend that reports its worker's modules as labels; served by the system tests as "spy_backend:Spy"."""

import sys

import msgspec

from quadriga.backends.base import ModelSource
from quadriga.backends.fake import FakeBackend
from quadriga.specs import ModelSpec


class Spy(FakeBackend):
    """Answers with its inputs, and tells what is imported."""

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        roots = sorted({name.partition(".")[0] for name in sys.modules})
        return msgspec.structs.replace(super().load(source), labels=tuple(roots))
