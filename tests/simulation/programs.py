"""Workflow programs made from a seed.

A program is data: a list of steps, each saying what to do and, where it has a choice, which way it
must go. So every program has an answer that is known without running it (`expected`), and one
workflow function of each colour (`workflows.py`) can run them all.

Durations come in two sizes that never meet: what is meant to finish takes minutes at most, with all
its retries and some crashes; what is meant to lose takes a day. So who wins a race does not depend
on when the engine was stopped.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

MINUTE = 60.0
DAY = 86400.0


class Act(msgspec.Struct, frozen=True):
    """One activity of a program, with the world's part of its behaviour. Durations in seconds."""

    name: str
    colour: str = "async"
    """"async" runs on the loop and takes `seconds`; "def" takes no time."""
    seconds: float = 0.0
    fails: int = 0
    """So many executions fail, retryably, before one succeeds."""
    hangs: int = 0
    """So many executions outlive their start-to-close time-out before one does not ("async" alone)."""
    fatal: bool = False
    """Fails for good (non-retryable) after the retryable failures."""
    gives_up: bool = False
    """Fails on every attempt of a bounded retry policy."""
    beats: int = 0
    """Heartbeats sent on the way."""


class Do(msgspec.Struct, frozen=True, tag=True):
    """Run one activity and wait for it."""

    act: Act


class Local(msgspec.Struct, frozen=True, tag=True):
    """Run one activity within the workflow task. `durable`: back-offs of more than a second are durable timers."""

    act: Act
    durable: bool = False


class Nap(msgspec.Struct, frozen=True, tag=True):
    """A durable timer."""

    seconds: float


class All(msgspec.Struct, frozen=True, tag=True):
    """Start several activities and wait for them all."""

    acts: list[Act]


class Race(msgspec.Struct, frozen=True, tag=True):
    """Start two, take the first that is done, cancel the other."""

    fast: Act
    slow: Act


class Deadline(msgspec.Struct, frozen=True, tag=True):
    """Wait for an activity, but only so long; cancel it when it is late."""

    act: Act
    seconds: float
    in_time: bool


class Abort(msgspec.Struct, frozen=True, tag=True):
    """Start a slow activity and cancel it after a while (0: in the same breath)."""

    act: Act
    after: float


class Draw(msgspec.Struct, frozen=True, tag=True):
    """Take a value from the deterministic world: "random", "uuid4", "now" or "side_effect"."""

    what: str


class Told(msgspec.Struct, frozen=True, tag=True):
    """Wait until these signals have come."""

    numbers: list[int]


class Asked(msgspec.Struct, frozen=True, tag=True):
    """Wait until this update has been handled, by an activity."""

    number: int
    act: Act


class Bear(msgspec.Struct, frozen=True, tag=True):
    """Run an activity in a child workflow; `cancelled_after`: cancel the child then. 0: wait for it."""

    act: Act
    cancelled_after: float = 0.0


class Tell(msgspec.Struct, frozen=True, tag=True):
    """Signal a child, and another workflow that is not there."""

    numbers: list[int]


class Scoped(msgspec.Struct, frozen=True, tag=True):
    """Start a slow activity in a scope and cancel that after a while."""

    act: Act
    after: float


class Undo(msgspec.Struct, frozen=True, tag=True):
    """A saga: these are done, then one fails for good, and these are undone by those."""

    done: list[Act]
    undone: list[Act]
    breaks: Act


class Again(msgspec.Struct, frozen=True, tag=True):
    """Go on as a new run."""


Step = Do | Local | Nap | All | Race | Deadline | Abort | Draw | Told | Asked | Bear | Tell | Scoped | Undo | Again


class Letter(msgspec.Struct, frozen=True):
    """What a client sends, and when, in virtual seconds: "signal", "update", or one that is "rejected"."""

    kind: str
    number: int
    at: float


class Program(msgspec.Struct, frozen=True):
    """A whole workflow. `cancelled`: the client asks for cancellation while it naps at its end.

    `begun_by_signal`: the first letter starts the workflow, and is sent as any other by whoever comes later.
    """

    seed: int
    colour: str
    steps: list[Step]
    raises: bool = False
    cancelled: bool = False
    letters: list[Letter] = []
    begun_by_signal: bool = False


class _Maker:
    """Draws the parts of one program; names activities in order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"program {seed}")
        self.named = 0
        self.letters: list[Letter] = []

    def name(self) -> str:
        self.named += 1
        return f"a{self.named}"

    def quick(self, *, may_fail: bool = True) -> Act:
        """An activity that is done, one way or the other, within minutes."""
        draw = self.random
        colour = draw.choice(("async", "def"))
        ending = draw.random() if may_fail else 1.0
        return Act(
            self.name(),
            colour,
            seconds=round(draw.uniform(0.1, 8.0), 1) if colour == "async" else 0.0,
            fails=draw.choice((0, 0, 0, 1, 2)),
            hangs=draw.choice((0, 0, 0, 1)) if colour == "async" else 0,
            fatal=ending < 0.10,
            gives_up=0.10 <= ending < 0.18,
            beats=draw.choice((0, 0, 2)),
        )

    def slow(self) -> Act:
        """An activity that takes a day, and is meant to be cancelled."""
        return Act(self.name(), "async", seconds=DAY, beats=self.random.choice((0, 24)))

    def step(self) -> Step:
        makers: list[tuple[int, Callable[[], Step]]] = [
            (6, lambda: Do(self.quick())),
            (3, lambda: Local(self.quick(), durable=self.random.random() < 0.4)),
            (2, lambda: Nap(self.random.choice((0.5, 30.0, 3600.0, 30 * DAY)))),
            (3, lambda: All([self.quick() for _ in range(self.random.randint(2, 3))])),
            (2, lambda: Race(self.quick(may_fail=False), self.slow())),
            (1, lambda: Deadline(self.quick(may_fail=False), DAY, in_time=True)),
            (1, lambda: Deadline(self.slow(), self.random.choice((5.0, 600.0)), in_time=False)),
            (2, lambda: Abort(self.slow(), self.random.choice((0.0, 5.0, 600.0)))),
            (2, lambda: Draw(self.random.choice(("random", "uuid4", "now", "side_effect")))),
        ]
        weights = [weight for weight, _ in makers]
        return self.random.choices([make for _, make in makers], weights)[0]()

    def surely(self, colour: str = "") -> Act:
        """An activity that is done after a while, and does not fail for good."""
        act = self.quick(may_fail=False)
        return msgspec.structs.replace(act, hangs=0, colour=colour or act.colour)

    def letter(self, kind: str) -> int:
        """Have a client send something; its number."""
        number = len(self.letters)
        self.letters.append(Letter(kind, number, self.random.choice((0.0, 0.001, 1.0, 20.0, 3600.0, 3 * DAY))))
        return number

    def told(self) -> Step:
        return Told([self.letter("signal") for _ in range(self.random.randint(1, 3))])

    def asked(self) -> Step:
        if self.random.random() < 0.3:
            self.letter("rejected")
        return Asked(self.letter("update"), self.surely())

    def undo(self) -> Step:
        count = self.random.randint(1, 3)
        done = [self.surely() for _ in range(count)]
        undone = [self.surely() for _ in range(count)]
        return Undo(done, undone, Act(self.name(), "def", fatal=True))

    def message_step(self) -> Step:
        """One that has to do with messages, other workflows, or runs."""
        makers: list[tuple[int, Callable[[], Step]]] = [
            (3, self.told),
            (3, self.asked),
            (2, lambda: Bear(self.quick())),
            (2, lambda: Bear(self.slow(), self.random.choice((5.0, 600.0)))),
            (2, lambda: Tell(list(range(self.random.randint(1, 3))))),
            (2, lambda: Scoped(self.slow(), self.random.choice((5.0, 600.0)))),
            (3, self.undo),
            (3, Again),
        ]
        weights = [weight for weight, _ in makers]
        return self.random.choices([make for _, make in makers], weights)[0]()


MESSAGES = 1_000_000
"""Seeds from here on are of programs with messages."""


def generate(seed: int) -> Program:
    """The program of a seed: two to four steps."""
    return _with_messages(seed) if seed >= MESSAGES else _without_messages(seed)


def _with_messages(seed: int) -> Program:
    maker = _Maker(seed)
    steps = [maker.message_step() for _ in range(maker.random.randint(1, 3))]
    steps.insert(maker.random.randint(0, len(steps)), maker.step())
    signals = [letter for letter in maker.letters if letter.kind == "signal"]
    return Program(
        seed=seed,
        colour=maker.random.choice(("async", "def")),
        steps=steps,
        letters=maker.letters,
        begun_by_signal=bool(signals) and signals[0].number == 0 and maker.random.random() < 0.5,
    )


def _without_messages(seed: int) -> Program:
    maker = _Maker(seed)
    ending = maker.random.random()
    return Program(
        seed=seed,
        colour=maker.random.choice(("async", "def")),
        steps=[maker.step() for _ in range(maker.random.randint(2, 4))],
        raises=ending < 0.1,
        cancelled=0.1 <= ending < 0.25,
    )


def outcome_of(act: Act) -> str:
    """What running an activity to its end must give."""
    if act.fatal:
        return f"{act.name} refused"
    return f"{act.name} gave up" if act.gives_up else f"{act.name} done"


def expected(step: Step) -> list[str] | None:
    """What a step adds to the result; None where chance decides (drawn values)."""
    match step:
        case Do(act) | Local(act):
            return [outcome_of(act)]
        case Nap(seconds):
            return [f"napped {seconds}"]
        case All(acts):
            return [outcome_of(act) for act in acts]
        case Race(fast, slow):
            return [outcome_of(fast), f"{slow.name} cancelled"]
        case Deadline(act, _, in_time):
            return [outcome_of(act) if in_time else f"{act.name} late"]
        case Abort(act):
            return [f"{act.name} cancelled"]
        case Draw():
            return None
        case Told(numbers):
            return [f"told {numbers}"]
        case Asked(number, act):
            return [f"asked {number}: {outcome_of(act)}"]
        case Bear(act, cancelled_after):
            return [f"{act.name} cancelled" if cancelled_after else outcome_of(act)]
        case Tell(numbers):
            return [f"heard {numbers}", "nobody there"]
        case Scoped(act):
            return [f"{act.name} left"]
        case Undo(done, undone):
            return [f"{act.name} done" for act in (*done, *reversed(undone))]
        case Again():
            return ["again"]


def acts_of(step: Step) -> list[Act]:
    """The activities that a step may run."""
    match step:
        case Do(act) | Local(act) | Deadline(act) | Abort(act) | Bear(act) | Scoped(act):
            return [act]
        case Asked(act=act):
            return [act]
        case Undo(done, undone, breaks):
            return [*done, *undone, breaks]
        case All(acts):
            return acts
        case Race(fast, slow):
            return [fast, slow]
        case Nap() | Draw() | Told() | Tell() | Again():
            return []
