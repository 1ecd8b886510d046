"""Worlds to which things happen in any order: walked through at random by the hundred thousand steps, or by hypothesis.

A world is a class whose methods marked with `action` are what may happen to it, each with the values that its
parameters may take. `Walks` takes such steps from a seed, fast, and makes the episode that failed as short as it can;
`search` has hypothesis take the same actions for rules of a state machine, which looks otherwise and is slower.
"""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, cast

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

Step = tuple[str, dict[str, Any]]
Method = TypeVar("Method", bound=Callable[..., Any])

#: How many steps a test takes that says nothing else.
STEPS: Final = int(os.environ.get("QUADRIGA_FUZZ_STEPS", "100000"))
#: Which they are, and what hypothesis tries.
SEED: Final = int(os.environ.get("QUADRIGA_FUZZ_SEED", "6"))
#: Steps of one episode at most; each has a world of its own.
_LONGEST_EPISODE: Final = 400
#: What the weights of an episode's actions are multiplied by.
_HABITS: Final = (0, 1, 1, 3)


class World:
    """What is done things to.

    Attributes:
        SETUP: The values that each parameter of the constructor may take.
        over: Whether nothing can happen any more.
    """

    SETUP: ClassVar[Mapping[str, Sequence[Any]]]
    over = False

    def check(self) -> None:
        """Raises AssertionError where something is not as it has to be."""
        raise NotImplementedError

    def end(self) -> None:
        """Brings all to an end, and checks that it is one."""
        raise NotImplementedError

    def discard(self) -> None:
        """Gives up what it holds, after a failure."""
        raise NotImplementedError


class Action(NamedTuple):
    """What may happen.

    Attributes:
        name: Of the method.
        weight: How often, against others, before the habits of a world.
        options: The values that each parameter may take; repeated ones are the likelier.
    """

    name: str
    weight: int
    options: Mapping[str, Sequence[Any]]


def action(weight: int = 1, **options: Sequence[Any]) -> Callable[[Method], Method]:
    """Marks a method as something that may happen; it returns False when it was not possible and changed nothing."""

    def mark(method: Method) -> Method:
        method.__dict__["action"] = Action(method.__name__, weight, options)
        return method

    return mark


def actions_of(world: type[World]) -> list[Action]:
    """What may happen to a world."""
    return [method.action for method in vars(world).values() if hasattr(method, "action")]


def perform(world: World, name: str, values: Mapping[str, Any]) -> bool:
    """Does something to a world; says whether it was possible."""
    done = getattr(world, name)(**values) is not False
    world.check()
    return done


def pick(options: Mapping[str, Sequence[Any]], chance: random.Random) -> dict[str, Any]:
    """A value for each parameter."""
    return {name: chance.choice(values) for name, values in options.items()}


class Walks:
    """Episodes of steps at random, the same for the same seed.

    Attributes:
        steps: How many were taken; those that were not possible do not count.
        episodes: In how many worlds.
    """

    def __init__(self, world: type[World], seed: int, shortens: bool = True) -> None:
        """Starts with the first episode of a seed; `shortens`: whether one that fails is made as short as it can."""
        self.steps = 0
        self.episodes = 0
        self._world = world
        self._seed = seed
        self._shortens = shortens
        self._actions = actions_of(world)
        self._weights = [action.weight for action in self._actions]

    def take(self, steps: int) -> None:
        """Takes at least so many steps more.

        Raises:
            AssertionError: With the shortest episode that fails alike, as far as it was found.
        """
        enough = self.steps + steps
        while self.steps < enough:
            self._episode(random.Random(f"{self._seed} {self.episodes}"))
            self.episodes += 1

    def _episode(self, chance: random.Random) -> None:
        setup = pick(self._world.SETUP, chance)
        taken: list[Step] = []
        # Each world has habits of its own, so that some things never happen in it: one mixture of everything does not
        # find what takes twenty calls without a pause, say (swarm testing, Groce et al., 2012).
        weights = [weight * chance.choice(_HABITS) for weight in self._weights]
        world = self._world(**setup)
        try:
            for _ in range(chance.randrange(_LONGEST_EPISODE) if any(weights) else 0):
                (chosen,) = chance.choices(self._actions, weights)
                taken.append((chosen.name, pick(chosen.options, chance)))
                self.steps += perform(world, *taken[-1])
                if world.over:
                    break
            world.end()
        except Exception as error:
            world.discard()
            if self._shortens:
                taken = shorten(taken, lambda steps: fails(self._world, setup, steps))
            lines = "\n".join(f"    {name}({values})" for name, values in taken)
            error.add_note(f"episode {self.episodes} of seed {self._seed}: {setup}\n{lines}\n    end()")
            raise


def fails(world_type: type[World], setup: Mapping[str, Any], steps: Sequence[Step]) -> bool:
    """Whether these steps, alone and in this order, make a world fail."""
    world = world_type(**setup)
    try:
        for step in steps:
            if world.over:
                break
            perform(world, *step)
        world.end()
    except Exception:
        world.discard()
        return True
    return False


def shorten(steps: Sequence[Step], still_fails: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Leaves out what can be left out: halves, then quarters, down to single steps."""
    shortest = list(steps)
    size = len(shortest) // 2
    while size:
        at = 0
        while at < len(shortest):
            shorter = shortest[:at] + shortest[at + size :]
            if still_fails(shorter):
                shortest = shorter
            else:
                at += size
        size //= 2
    return shortest


def search(world_type: type[World], examples: int) -> int:
    """Lets hypothesis look for steps that fail, and for the simplest of them; returns how many were taken."""
    machine = machine_of(world_type)
    options = settings(
        max_examples=examples,
        stateful_step_count=100,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(SEED)(machine), settings=options)
    taken: int = machine.taken
    return taken


def machine_of(world_type: type[World]) -> Any:
    """The same for hypothesis; its `taken` counts the steps that were possible, over all examples."""

    class Machine(RuleBasedStateMachine):
        taken = 0

        def __init__(self) -> None:
            super().__init__()
            self.world: World | None = None
            self.failed = False

        @initialize(setup=st.fixed_dictionaries({name: st.sampled_from(of) for name, of in world_type.SETUP.items()}))
        def begin(self, setup: dict[str, Any]) -> None:
            self.world = world_type(**setup)

        def teardown(self) -> None:
            if self.world is None:
                return
            if self.failed:
                self.world.discard()
            else:
                self.world.end()

    for each in actions_of(world_type):
        strategies: dict[str, Any] = {name: st.sampled_from(values) for name, values in each.options.items()}
        setattr(Machine, each.name, cast("Any", rule)(**strategies)(_rule_of(Machine, each.name)))
    return Machine


def _rule_of(machine_type: Any, name: str) -> Callable[..., None]:
    def run(self: Any, **values: Any) -> None:
        if self.world.over:
            return
        try:
            machine_type.taken += perform(self.world, name, values)
        except BaseException:
            self.failed = True
            raise

    run.__name__ = name
    return run
