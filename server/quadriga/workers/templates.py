"""Which templates there are: started when workers could use them, shared by models, ended with the last. Server side.

A worker's start is mostly the import of its framework. A template has that behind it, and a worker forked from it is
ready in a fraction of the time: one that replaces a dead worker, or that of a further model of the same backend. Where
there is no template, for whatever reason, workers are spawned: a template is never needed.
"""

import asyncio
import functools
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from quadriga.workers.child import ForkedChild
from quadriga.workers.messages import Load
from quadriga.workers.template_child import Template

#: Those whose import is slow and leaves no thread running. ONNX Runtime's is neither.
TEMPLATE_BACKENDS: Final = frozenset({"tensorflow", "keras", "torchscript"})
#: How long after workers have started a template is: it would take processor time from the next ones.
QUIET_SECONDS: Final = 1.0

log = logging.getLogger("quadriga.workers.templates")


class Key(NamedTuple):
    """What a template depends on: the backend, and all that `Backend.prepare` may turn into environment variables."""

    backend: str
    device: str
    threads: int
    parameters: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, load: Load) -> "Key":
        """The key of the template that a worker can be forked from."""
        source = load.source
        return cls(load.backend, source.device, source.threads, tuple(sorted(source.parameters.items())))


class Lease:
    """The use that the workers of one model version may make of templates."""

    def __init__(self, templates: "Templates", loads: Sequence[Load]) -> None:
        self._templates = templates
        self._keys = {Key.of(load) for load in loads}
        self._held = False

    def hold(self) -> None:
        """From now on templates are kept for these workers."""
        if not self._held:
            self._held = True
            self._templates.users.update(self._keys)

    async def release(self) -> None:
        """Ends the templates that nobody else uses. No worker is left."""
        if self._held:
            self._held = False
            await self._templates.release(self._keys)


class Templates:
    """All templates of a server process, one per key, started when workers that could use them are there.

    Attributes:
        users: How many model versions use a key.
        booting: How many workers start now.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        """Starts none yet; with `enabled` false there never are any, and every worker is spawned."""
        self._enabled = enabled
        self.users: Counter[Key] = Counter()
        self.booting = 0
        self._templates: dict[Key, Template] = {}
        self._wanted: dict[Key, Load] = {}
        self._useless: set[Key] = set()
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def boot(self) -> Iterator[None]:
        """While a worker starts: no template is started meanwhile."""
        self.booting += 1
        try:
            yield
        finally:
            self.booting -= 1
            self.look()

    def lease(self, loads: Sequence[Load]) -> Lease:
        """For the workers of one model version."""
        return Lease(self, loads)

    async def fork(self, load: Load) -> ForkedChild | None:
        """A worker from the template for it; None where it has to be spawned.

        Raises:
            OSError: The server process is short of file descriptors.
        """
        template = self._templates.get(Key.of(load))
        return None if template is None else await template.fork()

    def want(self, load: Load, device: str) -> None:
        """A worker is ready, on `device`: from now on others like it are to be forked, if that can be.

        On a GPU they are not: drivers do not survive a fork, and which of a framework's calls wake them is not ours.
        """
        key = Key.of(load)
        forks = self._enabled and sys.platform == "linux" and load.backend in TEMPLATE_BACKENDS and device == "cpu"
        if forks and key not in self._useless and key not in self._templates:
            self._wanted[key] = load
            self.look()

    def look(self) -> None:
        """Starts what is wanted, once no worker starts any more."""
        if self._wanted and not self.booting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._start_next)

    async def release(self, keys: Iterable[Key]) -> None:
        """Takes users of keys away, and ends the templates that have none left."""
        for key in keys:
            self.users[key] -= 1
            if not self.users[key]:
                del self.users[key]
                self._wanted.pop(key, None)
                self._useless.discard(key)
                if template := self._templates.pop(key, None):
                    await template.close()
        if self._timer is not None and not self._wanted:
            self._timer.cancel()
            self._timer = None
        self.look()  # one that has ended while it imported held up those that are wanted

    def _start_next(self) -> None:
        """One at a time: they are in no hurry."""
        self._timer = None
        if self.booting or any(not template.prepared.done() for template in self._templates.values()):
            return  # whose end leads here again
        key, load = self._wanted.popitem()
        try:
            self._templates[key] = Template(load, functools.partial(self._on_change, key))
        except OSError as error:
            log.warning("no template of %s can be started: %s", load.backend, error)
            self.look()

    def _on_change(self, key: Key, template: Template) -> None:
        if template.useless:
            self._useless.add(key)
        if template.gone and self._templates.get(key) is template:
            del self._templates[key]
        self.look()
