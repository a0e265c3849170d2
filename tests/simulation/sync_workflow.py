"""Runs a program as a plain `def` workflow."""

from __future__ import annotations

from perdure.sdk.errors import ActivityError, ApplicationError, CancelledError
from perdure.sdk.local_calls import start_local
from perdure.sdk.workflow import Handle, call, start, wait, workflow
from tests.simulation.activities import failed, local_performer, performer
from tests.simulation.programs import DAY, Abort, Act, All, Deadline, Do, Draw, Local, Nap, Program, Race, Step
from tests.simulation.world import stage


@workflow(name="simulated_def")
def simulated_def(program: Program) -> list[str]:
    """The result says what every step came to."""
    results: list[str] = []
    for position, step in enumerate(program.steps):
        results += _take(step, position)
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


def _outcome(act: Act, handle: Handle[str]) -> str:
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
    if wait(handle.done, timeout=seconds):
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
