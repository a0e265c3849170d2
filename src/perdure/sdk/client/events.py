"""`engine.events`: what a program that is no workflow tells to whom it concerns.

A signal to the event's hub, which is begun by it if there is none. See `sdk/workflow/events.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import WorkflowType
from temporalio.api.enums.v1 import WorkflowIdReusePolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice import v1 as service

from perdure.sdk.client.blocking import Blocking, blocking
from perdure.sdk.client.calls import Reach
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.option_names import lists_options
from perdure.sdk.workflow.events import HUB_TYPE, Header, Listener, hub_of, takes_value


@lists_options
@sends_texts
class AsyncEvents:
    """Events from outside. Every method may raise EngineError."""

    def __init__(self, reach: Reach, task_queue: str) -> None:
        self._reach = reach
        self._task_queue = task_queue

    async def emit(self, name: str, value: Any = None, *, key: str | None = None, id: str | None = None) -> str:
        """Tell whoever has subscribed to events of that name, each once. Durable when it returns. Gives the event's id.

        Args:
            value: anything that can be an argument.
            key: what it is about; who has subscribed with a key gets those of that key.
            id: one that came in before changes nothing (the newest 1000 of a name are remembered); default fresh.

        Raises:
            PayloadError: the value cannot be serialised.
            ValueError: the name is empty or too long.
            EngineError: the server refused.
        """
        event_id = id or self._reach.new_id()
        header = Header(event_id, name, key)
        await tell_hub(self._reach, self._task_queue, name, "emit", (header, value), event_id)
        return event_id

    async def stop_listening(self, name: str, workflow: Any, *, key: str | None = None) -> None:
        """End what `@on_event(name)` has begun: no more of these workflows are started for events from now on.

        An engine whose code still has the decorator begins it again when it is opened.

        Args:
            workflow: the workflow, or the name of its type.
            key: as in `@on_event`.
        """
        workflow_type = workflow if isinstance(workflow, str) else workflow.name
        args = (workflow_type, key)
        await tell_hub(self._reach, self._task_queue, name, "stop_listening", args, self._reach.new_id())


@lists_options
class Events(Blocking[AsyncEvents]):
    """`AsyncEvents` for plain code: the same methods, blocking."""

    emit = blocking(AsyncEvents.emit)
    stop_listening = blocking(AsyncEvents.stop_listening)


async def listen(reach: Reach, task_queue: str, definitions: Sequence[AnyWorkflow]) -> None:
    """Have the hubs start these workflows, as their `@on_event` says."""
    for definition in definitions:
        for trigger in definition.events:
            listener = Listener(definition.name, task_queue, trigger.key, takes_value(definition))
            await tell_hub(reach, task_queue, trigger.name, "listen", (listener,), reach.new_id())


async def tell_hub(
    reach: Reach, task_queue: str, name: str, signal: str, args: tuple[Any, ...], request_id: str
) -> None:
    """Signal the hub of an event, with start."""
    hub_id = hub_of(name)
    request = service.SignalWithStartWorkflowExecutionRequest(
        namespace=reach.namespace,
        workflow_id=hub_id,
        workflow_type=WorkflowType(name=HUB_TYPE),
        task_queue=TaskQueue(name=task_queue),
        identity=reach.identity,
        request_id=request_id,
        signal_name=signal,
        workflow_id_reuse_policy=WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
    )
    request.signal_input.payloads.extend(reach.converter.to_payloads(args, f"event {name}"))
    await reach.start(reach.connection.signal_with_start_workflow_execution, request, hub_id, HUB_TYPE)
