"""`call_local` and `start_local`: activities that the worker runs within the workflow task.

For short things of which there are many, such as a look into a cache or a validation: no queue, no commit of their
own. The result is recorded when the workflow task completes; until then a crash runs it again, from its
first attempt, so the effect must bear that (`activity.info().idempotency_key` is the same each time). Nothing
else happens in the workflow while one runs: no timer fires and no signal arrives before the task completes, which it
does when all of them have ended, or when four fifths of its time-out are over.

Of an activity's options `start_to_close_timeout` and `schedule_to_close_timeout` count here, `retry`, `cancellation`
and `local_retry_threshold`; `task_queue`, `schedule_to_start_timeout` and `heartbeat_timeout` do not.
"""

from __future__ import annotations

from typing import Any, ParamSpec, TypeVar

from perdure.sdk.declare.definitions import ActivityDefinition, AnyActivity
from perdure.sdk.declare.named import activity_given
from perdure.sdk.errors import DefinitionError
from perdure.sdk.interceptors import StartActivityInput, WorkflowChain
from perdure.sdk.replay.local_activity import start_local_activity
from perdure.sdk.replay.running import current
from perdure.sdk.workflow.handles import ActivityHandle, handle_of

P = ParamSpec("P")
R = TypeVar("R")


def call_local(activity: ActivityDefinition[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """In a `def` workflow: run an activity in this very worker, within the workflow task, and return its result.

    Raises:
        ActivityError: it failed for good; `.cause` says why (ApplicationError, TimedOutError).
        CancelledError: the workflow was cancelled; so was the activity.
        PayloadError: an argument cannot be serialised. Fails the task even if caught.
        DefinitionError: not an activity, a transactional one, or one that is known by its name alone.
    """
    machine = current("call_local()")
    fiber = machine.fiber.blocking("call_local(...)", "`await start_local(...)`")
    definition = _runnable("call_local()", activity)
    if machine.chain is not None:
        return _through(machine.chain, definition, args, kwargs).result()
    return fiber.join(start_local_activity(machine, definition, args, kwargs))


def start_local(activity: ActivityDefinition[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ActivityHandle[R]:
    """Begin a local activity and go on. `await` the handle in an `async def` workflow, `.result()` in a `def` one.

    Raises: as `call_local`.
    """
    machine = current("start_local()")
    definition = _runnable("start_local()", activity)
    if machine.chain is not None:
        return _through(machine.chain, definition, args, kwargs)
    return handle_of(machine, start_local_activity(machine, definition, args, kwargs), ActivityHandle)


def _through(chain: WorkflowChain, definition: AnyActivity, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return chain.outbound.start_local_activity(StartActivityInput(definition, definition.bind(args, kwargs)))


def _runnable(what: str, activity: Any) -> AnyActivity:
    """Raises DefinitionError for what cannot run within a workflow task of this worker."""
    definition = activity_given(what, activity)
    if not definition.has_code:
        raise DefinitionError(
            f"{definition.name} is known by its name alone, and a local activity runs in this very worker: give the "
            "function that is decorated with @activity, or use call(...) or start(...)"
        )
    if definition.transactional:
        raise DefinitionError(
            f"{definition.name} is transactional: its completion is a commit of its own, and a local activity has "
            "none; use call(...) or start(...)"
        )
    return definition
