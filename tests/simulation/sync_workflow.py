"""Runs a program as a plain `def` workflow."""

from __future__ import annotations

import msgspec

from perdure.models.saga import Saga
from perdure.sdk.errors import ActivityError, ApplicationError, CancelledError, ChildWorkflowError
from perdure.sdk.workflow.children import start_child
from perdure.sdk.workflow.local_calls import start_local
from perdure.sdk.workflow.workflow import ActivityHandle, call, start, workflow
from tests.simulation.activities import failed, local_performer, performer
from tests.simulation.post import Carried, Post, ear, kid
from tests.simulation.programs import (
    DAY,
    Abort,
    Act,
    Again,
    All,
    Asked,
    Bear,
    Deadline,
    Do,
    Draw,
    Local,
    Nap,
    Program,
    Race,
    Scoped,
    Step,
    Tell,
    Told,
    Undo,
)
from tests.simulation.world import stage


@workflow(name="simulated_def")
def simulated_def(program: Program, carried: Carried | None = None) -> list[str]:
    """The result says what every step came to."""
    carried = carried or Carried()
    results, post = list(carried.results), Post(program, carried)
    if program.letters:
        workflow.on_signal("tell", post.told.append)
        workflow.on_update("ask", post.answer, validator=post.check)
    workflow.on_query("told", post.told_so_far)
    for position, step in enumerate(program.steps):
        if isinstance(step, Again):
            workflow.wait_condition(workflow.all_handlers_finished)
            rest = msgspec.structs.replace(program, steps=program.steps[position + 1 :])
            workflow.continue_as_new(rest, post.carry(results))
        results += _take_message(step, post) or _take(step, position)
    if program.letters:
        workflow.wait_condition(workflow.all_handlers_finished)  # a client may repeat what was answered long ago
    if program.raises:
        raise ApplicationError(" ".join(results), type="Meant")
    if program.cancelled:
        results += _be_cancelled()
    return results


def _be_cancelled() -> list[str]:
    try:
        workflow.sleep(300 * DAY)
    except CancelledError:
        tidy = Act("tidy-up", "def")
        return [call(performer(tidy), tidy)]
    return ["nobody cancelled"]


def _take_message(step: Step, post: Post) -> list[str]:
    """What a step about messages came to; nothing for the others."""
    match step:
        case Told(numbers):
            workflow.wait_condition(lambda: post.has(numbers))
            return [post.said(numbers)]
        case Asked(number):
            workflow.wait_condition(lambda: number in post.asked)
            return [f"asked {number}: {post.asked[number]}"]
        case Bear(act, cancelled_after):
            return [_bear(act, cancelled_after)]
        case Tell(numbers):
            return _tell(numbers)
        case Scoped(act, after):
            with workflow.scope() as scope:
                handle = start(performer(act), act)
                workflow.sleep(after)
                scope.cancel()
                handle.result()
            return [f"{act.name} left"]
        case Undo(done, undone, breaks):
            return _undo(done, undone, breaks)
        case _:
            return []


def _bear(act: Act, cancelled_after: float) -> str:
    child = start_child(kid, act, id=f"kid-{act.name}")
    if cancelled_after:
        workflow.sleep(cancelled_after)
        child.cancel()
    try:
        return child.result()
    except ChildWorkflowError as error:
        return f"{act.name} {type(error.cause).__name__}"


def _tell(numbers: list[int]) -> list[str]:
    child = start_child(ear, len(numbers), id=f"ear-{workflow.info().run_id}-{numbers}")
    for number in numbers:
        child.signal("tell", number)
    try:
        workflow.external("nobody").signal("tell", 0)
    except ApplicationError as error:
        return [child.result(), "nobody there" if error.type == "WorkflowNotFound" else str(error)]
    return ["somebody there"]


def _undo(done: list[Act], undone: list[Act], breaks: Act) -> list[str]:
    results: list[str] = []
    try:
        with Saga() as saga:
            for act, undo in zip(done, undone, strict=True):
                results.append(_outcome(act, start(performer(act), act)))
                saga.compensate(performer(undo), undo)
            call(performer(breaks), breaks)
    except ActivityError:
        return results + [f"{act.name} done" for act in reversed(undone)]
    return ["it did not break"]


def _take(step: Step, position: int) -> list[str]:
    match step:
        case Do(act):
            return [_outcome(act, start(performer(act), act))]
        case Local(act, durable):
            return [_outcome(act, start_local(local_performer(act, durable=durable), act))]
        case Nap(seconds):
            workflow.sleep(seconds)
            return [f"napped {seconds}"]
        case All(acts):
            handles = [start(performer(act), act) for act in acts]
            return [_outcome(act, handle) for act, handle in zip(acts, handles, strict=True)]
        case Race(fast, slow):
            return _race(fast, slow)
        case Deadline(act, seconds, _):
            return [_until(act, seconds)]
        case Abort(act, after):
            handle = start(performer(act), act)
            if after:
                workflow.sleep(after)
            handle.cancel()
            return [_outcome(act, handle)]
        case Draw(what):
            return [draw(what, position)]
        case _:
            raise AssertionError(f"nobody knows {step}")


def _outcome(act: Act, handle: ActivityHandle[str]) -> str:
    try:
        return handle.result()
    except CancelledError:
        return f"{act.name} cancelled"
    except ActivityError as error:
        return f"{act.name} cancelled" if isinstance(error.cause, CancelledError) else failed(act, error)


def _race(fast: Act, slow: Act) -> list[str]:
    handles = {act.name: start(performer(act), act) for act in (slow, fast)}
    if workflow.wait_any(*handles.values()) != [handles[fast.name]]:
        return ["the wrong one won"]
    handles[slow.name].cancel()
    return [_outcome(fast, handles[fast.name]), _outcome(slow, handles[slow.name])]


def _until(act: Act, seconds: float) -> str:
    handle = start(performer(act), act)
    if workflow.wait_condition(handle.done, timeout=seconds):
        return _outcome(act, handle)
    handle.cancel()
    return f"{act.name} late"


def draw(what: str, position: int) -> str:
    """What a drawn value adds to the result; the world checks that replay draws it again."""
    run_id = workflow.info().run_id
    if what == "random":
        return stage.world.draw(run_id, position, f"random {workflow.random().random()}")
    if what == "uuid4":
        return stage.world.draw(run_id, position, f"uuid4 {workflow.uuid4()}")
    if what == "side_effect":
        return f"side_effect {workflow.side_effect(stage.world.side_effect)}"
    return f"now {workflow.now() is not None}"
