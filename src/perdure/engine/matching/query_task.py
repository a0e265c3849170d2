"""A question to a workflow as it travels: from the caller through matching to a worker."""

from __future__ import annotations

import asyncio

import msgspec
from temporalio.api.common.v1 import Payloads
from temporalio.api.query.v1 import QueryRejected, WorkflowQuery

from perdure.api.errors import Rejected
from perdure.core.execution import Execution
from perdure.engine.matching.volatile_task import VolatileTask


class QueryToken(msgspec.Struct, frozen=True, array_like=True):
    """What a worker answers a query task with."""

    namespace: str
    query_id: str
    node: str = ""
    """Where it was asked, when there are several; see `perdure.engine.node.wire`."""


class QueryTask(VolatileTask, eq=False):
    """A question on its way, alone or with a workflow task; `future` gets its answer."""

    token: QueryToken
    query: WorkflowQuery
    future: asyncio.Future[Payloads | QueryRejected]
    workflow_type: str = ""
    task_queue: str = ""
    """The normal one."""
    previous_started_event_id: int = 0
    last_event_id: int = 0
    sticky: bool = False
    """The worker has the workflow in memory and needs no history."""
    behind: tuple[int, int] = (0, 0)
    """Started event and attempt of the workflow task that ran when this was asked: it knows too little."""
    is_answered: bool = False
    """A workflow task came back with the answer, and is being committed."""
    sticky_queue: str = ""

    @property
    def is_wanted(self) -> bool:
        """Whether there is no answer yet, and somebody waits for one."""
        return not self.future.done()

    def fail(self, error: Rejected) -> None:
        """Tell who asked, if there is no answer yet."""
        if not self.future.done():
            self.future.set_exception(error)

    def look(self, execution: Execution) -> None:
        """Take what the task says of the run as it is now."""
        self.key = execution.key
        self.workflow_type = execution.workflow_type
        self.task_queue = execution.task_queue
        self.sticky_queue = execution.facts.sticky_queue
        self.previous_started_event_id = execution.started_task_completed
        self.last_event_id = execution.next_event_id - 1
        running = execution.current_task
        if running is not None and running.started_event_id:
            self.behind = (running.started_event_id, running.attempt)
