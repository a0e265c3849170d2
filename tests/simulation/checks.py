"""What every run must come to, each check on its own, and the one loop that crashes a program everywhere."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

from perdure.core.invariants import check as check_invariants
from tests.simulation.faults import CRASHES, KINDS, CrashPoint, crash_points
from tests.simulation.fleet import Storage
from tests.simulation.harness import Report, simulate
from tests.simulation.laws import check_history
from tests.simulation.programs import Program, Undo, acts_of, expected, generate
from tests.simulation.relay import SIGNALS

ORDER = Program(1, "order", [])
"""The README's workflow: four activities, one after the other."""


RELAY = Program(2, "relay", [])
"""Six signals to a workflow that continues as new behind each."""


class Failed(AssertionError):
    """A run is not what it must be; the message says how to see it again."""


def answers_as_planned(program: Program, report: Report) -> None:
    """Every step came to what the program says it must."""
    if program.colour == "order":
        wanted = ["charge done", "reserve done", "ship done", "notify done"]
        assert report.outcome == f"COMPLETED {wanted}", report.outcome
        return
    if program.colour == "relay":
        assert report.outcome == f"COMPLETED {list(range(SIGNALS))}", report.outcome
        return
    assert report.outcome.startswith("FAILED " if program.raises else "COMPLETED "), report.outcome
    for step in program.steps:
        for line in expected(step) or []:
            assert line in report.outcome, f"{line!r} is not in {report.outcome}"
    if program.cancelled and not program.raises:
        assert "tidy-up done" in report.outcome, report.outcome


def nothing_recorded_is_run_again(report: Report) -> None:
    """No activity ran whose completion was in durable history, and replay drew what was drawn before."""
    assert not report.world.complaints, "; ".join(report.world.complaints)


def effects_happen_exactly_once(program: Program, report: Report) -> None:
    """Under however many executions, each effect has one idempotency key, and those that must happen happened."""
    counts = Counter(report.world.effects.values())
    assert not [name for name, count in counts.items() if count != 1], counts
    for act in (act for step in program.steps for act in acts_of(step)):
        if f"{act.name} done" in report.outcome:
            assert counts[act.name] == 1, f"{act.name} is recorded as done, and its effect never happened"


def sagas_are_undone_in_reverse(program: Program, report: Report) -> None:
    """What was done later is undone earlier."""
    order = list(report.world.effects.values())
    for step in program.steps:
        if isinstance(step, Undo):
            wanted = [act.name for act in (*step.done, *reversed(step.undone))]
            assert [name for name in order if name in wanted] == wanted, order


def history_is_lawful(report: Report) -> None:
    """The fold of history is the stored state, ids are dense, the closing event is the last, nothing is owed."""
    assert [event.event_id for event in report.events] == list(range(1, len(report.events) + 1))
    check_history(report.stored, report.events)
    check_invariants(report.stored)
    assert not report.stored.is_open


def check_report(program: Program, report: Report) -> None:
    """All of the above. Raises AssertionError."""
    answers_as_planned(program, report)
    nothing_recorded_is_run_again(report)
    effects_happen_exactly_once(program, report)
    sagas_are_undone_in_reverse(program, report)
    history_is_lawful(report)


@contextmanager
def saying_how(program: Program, nodes: int, crashes: Sequence[CrashPoint]) -> Generator[None]:
    """Whatever fails within is raised as Failed, with the line that shows it again."""
    try:
        yield
    except Exception as error:
        name = program.colour if program.colour in ("order", "relay") else program.seed
        again = " ".join(["python -m tests.simulation", str(name), f"--nodes {nodes}", *map(str, crashes)])
        raise Failed(f"{again}\n{type(error).__name__}: {error}") from error


def check_run(
    program: Program, crashes: Sequence[CrashPoint] = (), storage: Storage | None = None, nodes: int = 1
) -> Report:
    """Run a program through these crashes and check all that must hold. Raises Failed."""
    with saying_how(program, nodes, crashes):
        report = simulate(program, crashes, storage, nodes)
        check_report(program, report)
        assert report.struck == len(crashes), "not all of this has happened"
    return report


def same_result(one: Report, other: Report) -> None:
    """However often it was killed, the program ends as it does when nobody kills it."""
    same_run = one.stored.key.run_id == other.stored.key.run_id
    before, after = (_without_chance(report.outcome, same_run=same_run) for report in (one, other))
    assert before == after, f"{before} became {after}"


def _without_chance(outcome: str, *, same_run: bool) -> str:
    """A side effect that was not recorded before a crash may come out otherwise after it.

    Dice are thrown by run id: if the first run was lost before it was durable, the second throws its own.
    """
    outcome = re.sub(r"side_effect \d+", "side_effect", outcome)
    return outcome if same_run else re.sub(r"(random|uuid4) [\w.-]+", r"\1", outcome)


def crash_everywhere(program: Program, nodes: int = 1, kinds: Sequence[str] = CRASHES) -> int:
    """Run it whole, then once for every way to be stopped once; how many crashes that were. Raises Failed."""
    whole = check_run(program, nodes=nodes)
    points = list(crash_points(whole.boundaries, kinds))
    for point in points:
        crashed = check_run(program, [point], nodes=nodes)
        with saying_how(program, nodes, [point]):
            same_result(whole, crashed)
    return len(points)


def some_points(program: Program, nodes: int, boundaries: int, times: int) -> list[CrashPoint]:
    """So many that chance draws, the same ones each time."""
    chance = random.Random(f"somewhere {program.seed} {nodes}")
    return chance.sample(list(crash_points(boundaries, KINDS)), times)


def crash_somewhere(program: Program, nodes: int, times: int) -> int:
    """As `crash_everywhere`, at so many commits that chance draws; how many crashes that were. Raises Failed."""
    whole = check_run(program, nodes=nodes)
    for point in some_points(program, nodes, whole.boundaries, times):
        crashed = check_run(program, [point], nodes=nodes)
        with saying_how(program, nodes, [point]):
            same_result(whole, crashed)
    return times


def crash_twice(program: Program, nodes: int = 1) -> int:
    """Stop it at some commit, and then at each of the first few behind it; how many runs that were. Raises Failed."""
    whole = check_run(program, nodes=nodes)
    chance = random.Random(f"twice {program.seed}")
    first = CrashPoint(chance.randint(1, max(1, whole.boundaries - 3)), chance.choice(CRASHES))
    left = check_run(program, [first], nodes=nodes).boundaries - first.boundary
    points = [CrashPoint(first.boundary + point.boundary, point.kind) for point in crash_points(min(left, 3))]
    for second in points:
        crashed = check_run(program, [first, second], nodes=nodes)
        with saying_how(program, nodes, [first, second]):
            same_result(whole, crashed)
    return len(points)


def fingerprint(seed: int) -> str:
    """A digest of all that was committed, and when, in a run of this seed."""
    report = simulate(generate(seed))
    return blake2b(repr((report.outcome, report.disk.trace)).encode(), digest_size=8).hexdigest()
