"""A started task as the worker gets it: what core decided, and the events that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.api.backoff import to_message
from perdure.api.enums import QUEUE_NORMAL
from perdure.api.times import set_duration, set_timestamp
from perdure.core.started import StartedActivityTask, StartedWorkflowTask
from perdure.core.state import Activity
from perdure.engine.engine import Engine
from perdure.frontend.at_hand import ActivityTaskAtHand, Durable, EventsAtHand, WorkflowTaskAtHand
from perdure.frontend.page_tokens import HistoryToken, encode_history


async def workflow_task_response(engine: Engine, task: StartedWorkflowTask) -> service.PollWorkflowTaskQueueResponse:
    """The task with its history: for a sticky worker what it has not seen, otherwise from the beginning.

    A long history ends with `next_page_token`, for GetWorkflowExecutionHistory.
    Raises Rejected when the history cannot be read.
    """
    events = _events_at_hand(engine, task)
    if events is None:
        events = await engine.histories.page(task.key, *_seen_by_worker(task))
    return _workflow_task(engine, task, events)


def workflow_task_at_hand(
    engine: Engine, task: StartedWorkflowTask
) -> service.PollWorkflowTaskQueueResponse | WorkflowTaskAtHand | None:
    """As `workflow_task_response`, for a worker in this process; None when the store must be read for it."""
    events = _events_at_hand(engine, task)
    if events is None:
        return None
    if engine.queries.waiting:
        return _workflow_task(engine, task, events)
    return _workflow_task_at_hand(engine, task, events)


def early_workflow_task(
    engine: Engine, task: StartedWorkflowTask, newest: Sequence[HistoryEvent], durable: Durable
) -> WorkflowTaskAtHand | None:
    """As `workflow_task_at_hand`, before the task is durable, and with it the `newest` events of its history; None when
    more is needed than is in memory."""
    if engine.queries.waiting:  # they want to see what is durable
        return None
    first_event_id, _ = _seen_by_worker(task)
    last_event_id = newest[0].event_id - 1
    events: Sequence[HistoryEvent] | None = ()
    if first_event_id <= last_event_id:
        events = engine.histories.recent(task.key, first_event_id, last_event_id)
        if events is None:
            return None
    response = _workflow_task_at_hand(engine, task, [*events, *newest])
    response.durable = durable
    return response


def _workflow_task_at_hand(
    engine: Engine, task: StartedWorkflowTask, events: Sequence[HistoryEvent]
) -> WorkflowTaskAtHand:
    key = task.key
    return WorkflowTaskAtHand(
        task.token,
        task.started_event_id,
        task.attempt,
        WorkflowExecution(workflow_id=key.workflow_id, run_id=key.run_id),
        EventsAtHand([*events, *task.transient_events]),
        task.messages,
        task.workflow_type,
        make=partial(_workflow_task, engine, task, events),
    )


def _events_at_hand(engine: Engine, task: StartedWorkflowTask) -> Sequence[HistoryEvent] | None:
    first_event_id, last_event_id = _seen_by_worker(task)
    return engine.histories.recent(task.key, first_event_id, last_event_id) if first_event_id <= last_event_id else ()


def _seen_by_worker(task: StartedWorkflowTask) -> tuple[int, int]:
    """The first and the last event of history that the worker is sent."""
    first_event_id = task.previous_started_event_id + 1 if task.sticky else 1
    return first_event_id, task.started_event_id - len(task.transient_events)


def _workflow_task(
    engine: Engine, task: StartedWorkflowTask, events: Sequence[HistoryEvent]
) -> service.PollWorkflowTaskQueueResponse:
    key = task.key
    response = service.PollWorkflowTaskQueueResponse(
        task_token=task.token,
        previous_started_event_id=task.previous_started_event_id,
        started_event_id=task.started_event_id,
        attempt=task.attempt,
    )
    set_timestamp(response.scheduled_time, task.scheduled_at_ns)
    set_timestamp(response.started_time, task.started_at_ns)
    execution = response.workflow_execution
    execution.workflow_id = key.workflow_id
    execution.run_id = key.run_id
    response.workflow_type.name = task.workflow_type
    queue = response.workflow_execution_task_queue
    queue.name = task.task_queue
    queue.kind = QUEUE_NORMAL
    if engine.queries.waiting:
        for query_id, query in engine.queries.attached(task).items():
            response.queries[query_id].CopyFrom(query)
    if task.messages:
        response.messages.extend(task.messages)
    response.history.events.extend(events)
    first_event_id, last_event_id = _seen_by_worker(task)
    next_event_id = first_event_id + len(events)
    if next_event_id <= last_event_id:
        transient = History(events=task.transient_events).SerializeToString()
        token = HistoryToken(key.run_id, next_event_id, last_event_id, transient)
        response.next_page_token = encode_history(token)
    elif task.transient_events:
        response.history.events.extend(task.transient_events)
    return response


async def activity_task_response(engine: Engine, task: StartedActivityTask) -> service.PollActivityTaskQueueResponse:
    """The attempt with what its scheduled event says. Raises Rejected when that cannot be read."""
    return _activity_task(task, await engine.histories.event(task.key, task.scheduled_event_id))


def activity_task_at_hand(
    engine: Engine, task: StartedActivityTask
) -> service.PollActivityTaskQueueResponse | ActivityTaskAtHand | None:
    """As `activity_task_response`, for a worker in this process; None when the store must be read for it."""
    recent = engine.histories.recent(task.key, task.scheduled_event_id, task.scheduled_event_id)
    if not recent:
        return None
    event = recent[0]
    if task.options is not None:
        return _activity_task(task, event)
    scheduled = event.activity_task_scheduled_event_attributes
    return ActivityTaskAtHand(
        task.token,
        task.attempt,
        scheduled.activity_type,
        scheduled.input,
        scheduled.start_to_close_timeout,
        scheduled.schedule_to_close_timeout,
        make=partial(_activity_task, task, event),
    )


def _activity_task(task: StartedActivityTask, event: HistoryEvent) -> service.PollActivityTaskQueueResponse:
    key = task.key
    scheduled = event.activity_task_scheduled_event_attributes
    response = service.PollActivityTaskQueueResponse(
        task_token=task.token,
        workflow_namespace=key.namespace,
        activity_type=scheduled.activity_type,
        activity_id=task.activity_id,
        attempt=task.attempt,
        schedule_to_close_timeout=scheduled.schedule_to_close_timeout,
        start_to_close_timeout=scheduled.start_to_close_timeout,
        heartbeat_timeout=scheduled.heartbeat_timeout,
    )
    set_timestamp(response.scheduled_time, task.scheduled_at_ns)
    set_timestamp(response.current_attempt_scheduled_time, task.current_attempt_scheduled_at_ns)
    set_timestamp(response.started_time, task.started_at_ns)
    execution = response.workflow_execution
    execution.workflow_id = key.workflow_id
    execution.run_id = key.run_id
    response.workflow_type.name = task.workflow_type
    if scheduled.HasField("input"):
        response.input.CopyFrom(scheduled.input)
    if scheduled.HasField("header"):
        response.header.CopyFrom(scheduled.header)
    if scheduled.HasField("retry_policy"):
        response.retry_policy.CopyFrom(scheduled.retry_policy)
    if scheduled.HasField("priority"):
        response.priority.CopyFrom(scheduled.priority)
    if task.options is not None:
        _set_options(response, task.options)
    if task.heartbeat_details:
        response.heartbeat_details.CopyFrom(Payloads.FromString(task.heartbeat_details))
    return response


def _set_options(response: service.PollActivityTaskQueueResponse, options: Activity) -> None:
    """An operator changed them: what the scheduled event says does not hold any more."""
    set_duration(response.schedule_to_close_timeout, options.schedule_to_close_ns)
    set_duration(response.start_to_close_timeout, options.start_to_close_ns)
    set_duration(response.heartbeat_timeout, options.heartbeat_ns)
    if options.retry is not None:
        response.retry_policy.CopyFrom(to_message(options.retry))
