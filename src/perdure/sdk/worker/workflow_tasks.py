"""One workflow task from poll to answer.

A cached run goes on if it has read exactly the history that comes before this task's; else the run
is replayed from its first event, fetching what the task did not bring. The machine
decides on the workflow thread; the answer goes out, and whatever next task comes back with it
is processed in the same breath.

A run goes back into the cache only after the server took the answer: a machine whose commands
were refused has gone further than its history.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from temporalio.api.enums.v1 import EventType, TaskQueueKind, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.query.v1 import WorkflowQueryResult
from temporalio.api.taskqueue.v1 import StickyExecutionAttributes, TaskQueue
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    RespondQueryTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
)

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.convert import Converter, failure_of
from perdure.sdk.declare.definitions import AnyWorkflow, Registry
from perdure.sdk.errors import EngineError, NonDeterminismError, PayloadTooLargeError, UnknownTypeError
from perdure.sdk.options import duration_message
from perdure.sdk.replay.local_work import Report
from perdure.sdk.replay.outcome import HistoryGapError, TaskOutcome
from perdure.sdk.replay.query import failed
from perdure.sdk.texts import text_of
from perdure.sdk.worker.config import Footing, WorkerConfig, WorkerName, times_of
from perdure.sdk.worker.delivery import deliver
from perdure.sdk.worker.failing import FailureLog
from perdure.sdk.worker.local_activities import LocalActivities
from perdure.sdk.worker.machines import CachedRun, Machine, ReplaySlot, RunCache
from perdure.sdk.worker.raised import refused
from perdure.sdk.worker.workflow_thread import ThreadLost, Work, WorkflowExecutor

logger = logging.getLogger("perdure.worker")

QUERY_LOOKS = 100
"""How often a query waits for a run that is in hand again and again, before the run is replayed for it."""

MachineMaker = Callable[[AnyWorkflow], Machine]


class WorkflowTasks:
    """Handles the workflow tasks of one worker."""

    def __init__(
        self,
        connection: Connection,
        name: WorkerName,
        registry: Registry,
        converter: Converter,
        config: WorkerConfig,
        executor: WorkflowExecutor,
        cache: RunCache,
        make_machine: MachineMaker,
        on_eager: Callable[[PollActivityTaskQueueResponse], None],
        local: LocalActivities,
        failures: FailureLog | None = None,
        footing: Footing | None = None,
    ) -> None:
        self._failures = failures or FailureLog()
        self.connection = connection
        self._name = name
        self._registry = registry
        self._converter = converter
        self._executor = executor
        self._cache = cache
        self._make_machine = make_machine
        self._on_eager = on_eager
        self._local = local
        self._loop = asyncio.get_running_loop()
        self._sticky = StickyExecutionAttributes(
            worker_task_queue=TaskQueue(
                name=name.sticky_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_STICKY, normal_name=name.task_queue
            ),
            schedule_to_start_timeout=duration_message(times_of(config).sticky_schedule_to_start_ns),
        )
        self._cached = config.cached_runs > 0
        self._replays = asyncio.Semaphore(config.replay_slots)
        self._fails_repeatedly = (footing or Footing()).fails_repeatedly
        self._in_hand: dict[str, int] = {}
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}

    async def handle(self, task: PollWorkflowTaskQueueResponse) -> None:
        """Process and answer a task, and the ones that come back with the answers."""
        next_task: PollWorkflowTaskQueueResponse | None = task
        while next_task is not None:
            next_task = await self._handle_one(next_task)

    async def _handle_one(self, task: PollWorkflowTaskQueueResponse) -> PollWorkflowTaskQueueResponse | None:
        if task.HasField("query"):
            await self._answer_query(task)
            return None
        run_id = task.workflow_execution.run_id
        in_hand = self._in_hand
        in_hand[run_id] = in_hand.get(run_id, 0) + 1
        slot = ReplaySlot(self._replays) if task.previous_started_event_id and run_id not in self._cache else None
        try:
            if slot is not None:
                await slot.take()
            return await self._handle_run(task, slot)
        except Exception as problem:  # a fault of ours, or a refusal: told at once, or only a time-out would end it
            if self._is_told(task):
                await self._send_failure(task, failure_of(problem, self._converter), _cause_of(problem))
            logger.exception("the workflow task of %s could not be answered", _named(task))
            return None
        finally:
            if slot is not None:
                slot.free()
            left = in_hand.pop(run_id) - 1
            if left:
                in_hand[run_id] = left
            elif self._awaited:
                self._wake_queries(run_id)

    async def _handle_run(
        self, task: PollWorkflowTaskQueueResponse, slot: ReplaySlot | None
    ) -> PollWorkflowTaskQueueResponse | None:
        received_s = self._loop.time()
        try:
            run, outcome = await self._process(task)
            if outcome.local is not None:
                if slot is not None:
                    slot.free()  # it is replayed; what it waits for may take long
                if not await _is_durable(task):
                    logger.info("the workflow task of %s was never stored, and is dropped", _named(task))
                    self._executor.dispose(run)
                    return None
                run, outcome = await self._run_local(task, run, outcome, received_s)
        except Exception as error:  # of workflow code or of its declaration: this task's fault alone
            if isinstance(error, UnknownTypeError):
                error.__traceback__ = None  # its frames are ours, and say nothing
            await self._fail(task, failure_of(error, self._converter), _cause_of(error), error)
            return None
        if outcome.failure is not None:
            self._executor.dispose(run)
            await self._fail(task, outcome.failure, outcome.cause, outcome.error)
            return None
        try:
            return await self._complete(task, run, outcome)
        except BaseException:
            self._executor.dispose(run)
            raise

    async def _process(self, task: PollWorkflowTaskQueueResponse) -> tuple[CachedRun, TaskOutcome]:
        if task.next_page_token:
            await self._fetch_pages(task)
        run = self._cache.take(task.workflow_execution.run_id)
        if run is not None:
            try:
                return run, await self._step(run, task)
            except (ThreadLost, HistoryGapError):
                # Its thread was given up while it waited there, or its history does not go on here: replay it.
                run = None
        await self._complete_history(task)
        return await self._replay(task)

    async def _run_local(
        self, task: PollWorkflowTaskQueueResponse, run: CachedRun, outcome: TaskOutcome, received_s: float
    ) -> tuple[CachedRun, TaskOutcome]:
        """The code waits for local activities: run them and go on, until the task can, or must, be answered."""
        while outcome.local is not None:
            if run.local is None:
                run.local = self._local.run_of(run.run_id)
            run.local.begin(task, received_s)
            try:
                report = await run.local.work(outcome.local)
            except BaseException:
                self._executor.dispose(run)
                raise
            try:
                outcome = await self._step(run, report)
            except ThreadLost:
                await self._complete_history(task)
                run, outcome = await self._replay(task)
        return run, outcome

    async def _replay(self, task: PollWorkflowTaskQueueResponse) -> tuple[CachedRun, TaskOutcome]:
        """On a new machine, from a whole history."""
        for _ in range(3):
            run = self._new_run(task)
            try:
                return run, await self._step(run, task)
            except ThreadLost:
                continue  # behind a run that blocked; the new thread starts over
        raise RuntimeError("workflow threads are given up faster than this run can be replayed")

    async def _step(self, run: CachedRun, task: Work) -> TaskOutcome:
        try:
            outcome = await self._executor.process(run, task)
        except BaseException:
            self._executor.dispose(run)
            raise
        if type(task) is not Report and task.started_event_id:
            run.bytes += task.history.ByteSize()
        return outcome

    def _new_run(self, task: PollWorkflowTaskQueueResponse) -> CachedRun:
        definition = self._registry.workflow(task.workflow_type.name)
        machine = self._make_machine(definition)
        return CachedRun(task.workflow_execution.run_id, definition, machine, self._executor.home)

    async def _fetch_pages(self, task: PollWorkflowTaskQueueResponse) -> None:
        """The rest of a history that did not fit into the poll's answer."""
        task.history.events.extend(await self._history(task, task.next_page_token))
        task.ClearField("next_page_token")

    async def _complete_history(self, task: PollWorkflowTaskQueueResponse) -> None:
        """Put what comes before a partial history in front of it."""
        events = task.history.events
        first = events[0].event_id if events else task.started_event_id + 1
        if first == 1:
            return
        before = [event for event in await self._history(task, b"") if event.event_id < first]
        before.extend(events)
        task.history.ClearField("events")
        task.history.events.extend(before)

    async def _history(self, task: PollWorkflowTaskQueueResponse, token: bytes) -> Sequence[HistoryEvent]:
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._name.namespace, execution=task.workflow_execution, next_page_token=token
        )
        found: list[HistoryEvent] = []
        while True:
            page = await deliver(self.connection.get_workflow_execution_history, request, lambda: "reading a history")
            if page is None:
                raise RuntimeError("the run's history is gone")
            found.extend(page.history.events)
            if not page.next_page_token:
                return found
            request.next_page_token = page.next_page_token

    async def _complete(
        self, task: PollWorkflowTaskQueueResponse, run: CachedRun, outcome: TaskOutcome
    ) -> PollWorkflowTaskQueueResponse | None:
        request = RespondWorkflowTaskCompletedRequest()
        request.task_token = task.task_token
        request.identity = self._name.identity
        request.namespace = self._name.namespace
        request.commands.extend(outcome.commands)
        if outcome.messages:
            request.messages.extend(outcome.messages)
            # A task that came to nothing but rejections may leave no event: a run that is reset is replayed.
            request.capabilities.discard_speculative_workflow_task_with_events = True
        if outcome.query_results:
            for query_id, result in outcome.query_results.items():
                request.query_results[query_id].CopyFrom(result)
        if outcome.flags:
            request.sdk_metadata.lang_used_flags.extend(outcome.flags)
        if outcome.unfinished or outcome.dropped or outcome.untaken:
            _tell(task, outcome)
        if not outcome.finished:
            request.return_new_workflow_task = True
            if outcome.goes_on:
                request.force_create_new_workflow_task = True
            if self._cached:
                request.sticky_attributes.CopyFrom(self._sticky)
        try:
            response = await deliver(
                self.connection.respond_workflow_task_completed, request, lambda: f"workflow task of {_named(task)}"
            )
        except Rejected as rejected:
            if rejected.code != StatusCode.INVALID_ARGUMENT:
                raise
            # The server has failed the task with this reason and hands out another one. That events came in while
            # the run decided to close is nobody's fault; anything else is something to be mended.
            if "UnhandledCommand" in rejected.message:
                logger.debug("workflow task of %s was refused: %s", _named(task), rejected.message)
                if run.local is not None:
                    self._local.keep(run.run_id, run.local)
            else:
                self._failures.workflow_task(task, Failure(message=f"the server refused it: {rejected.message}"))
            response = None
        if response is None or outcome.finished or response.reset_history_event_id:
            # After a reset the server has forgotten this task: what came of it is no part of the run.
            self._executor.dispose(run)
        else:
            self._cache.put(run)
        if response is None:
            return None
        for activity_task in response.activity_tasks:
            self._on_eager(activity_task)
        return response.workflow_task if response.workflow_task.task_token else None

    async def _answer_query(self, task: PollWorkflowTaskQueueResponse) -> None:
        """A task that is nothing but a question: the run stays in the cache as it was, or is replayed for it."""
        try:
            result = await self._ask(task)
        except Exception as error:  # of workflow code or of its declaration: this is the answer
            result = failed(failure_of(error, self._converter))
        try:
            await self._send_answer(task, result)
        except Exception as problem:  # a refusal, or a fault of ours: whoever asked must not wait for nothing
            logger.exception("the answer to a query of %s was not taken; the server is told so", _named(task))
            error = EngineError(f"the workflow answered, and the answer could not be sent: {text_of(problem)}")
            await self._send_answer(task, failed(failure_of(error, self._converter)))

    async def _send_answer(self, task: PollWorkflowTaskQueueResponse, result: WorkflowQueryResult) -> None:
        request = RespondQueryTaskCompletedRequest(task_token=task.task_token, namespace=self._name.namespace)
        request.completed_type = result.result_type
        request.query_result.CopyFrom(result.answer)
        request.error_message = result.error_message
        request.failure.CopyFrom(result.failure)
        what = f"the answer to a query of {_named(task)}"
        await deliver(self.connection.respond_query_task_completed, request, lambda: what)

    async def _ask(self, task: PollWorkflowTaskQueueResponse) -> WorkflowQueryResult:
        if task.next_page_token:
            await self._fetch_pages(task)
        run_id = task.workflow_execution.run_id
        await self._set_down(run_id)
        run = self._cache.take(run_id)
        if run is not None and not task.history.events:
            try:
                outcome = await self._step(run, task)
            except ThreadLost:
                run = None  # replayed below
            else:
                self._cache.put(run)
                return _result_of(outcome)
        if run is not None:
            self._executor.dispose(run)
        await self._complete_query_history(task)
        run, outcome = await self._replay(task)
        self._executor.dispose(run)
        return _result_of(outcome)

    async def _set_down(self, run_id: str) -> None:
        """Wait until a run is not in hand: its last task may be committed and not yet be back here."""
        for _ in range(QUERY_LOOKS):
            if run_id not in self._in_hand:
                return
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._awaited.setdefault(run_id, []).append(future)
            await future

    def _wake_queries(self, run_id: str) -> None:
        for future in self._awaited.pop(run_id, ()):
            if not future.done():
                future.set_result(None)

    async def _complete_query_history(self, task: PollWorkflowTaskQueueResponse) -> None:
        events = task.history.events
        if not events or events[0].event_id != 1:
            found = await self._history(task, b"")
            del events[:]
            events.extend(found)
        if events and events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            del events[-1]  # that task is somebody else's to answer

    async def _fail(
        self,
        task: PollWorkflowTaskQueueResponse,
        failure: Failure,
        cause: WorkflowTaskFailedCause.ValueType,
        error: BaseException | None,
    ) -> None:
        self._failures.workflow_task(task, failure, error)
        if not self._is_told(task):
            return
        try:
            await self._send_failure(task, failure, cause)
        except Rejected as rejected:
            await self._send_failure(task, refused(failure, rejected), cause)

    def _is_told(self, task: PollWorkflowTaskQueueResponse) -> bool:
        """Whether the server wants to hear that a task failed; of the same task again some pace it themselves."""
        return task.attempt == 1 or self._fails_repeatedly

    async def _send_failure(
        self, task: PollWorkflowTaskQueueResponse, failure: Failure, cause: WorkflowTaskFailedCause.ValueType
    ) -> None:
        request = RespondWorkflowTaskFailedRequest(
            task_token=task.task_token,
            cause=cause,
            failure=failure,
            identity=self._name.identity,
            namespace=self._name.namespace,
        )
        await deliver(
            self.connection.respond_workflow_task_failed, request, lambda: f"failed workflow task of {_named(task)}"
        )


def _result_of(outcome: TaskOutcome) -> WorkflowQueryResult:
    """Raises what kept the machine from getting to the query."""
    if outcome.query_results is None:
        raise outcome.error or RuntimeError("the run could not be replayed")
    return outcome.query_results[""]


async def _is_durable(task: PollWorkflowTaskQueueResponse) -> bool:
    """Whether what the code has seen is stored: before it has effects. An engine in this process may hand a task over
    before it is, to store it with its answer."""
    durable = getattr(task, "durable", None)
    return durable is None or await durable()


def _tell(task: PollWorkflowTaskQueueResponse, outcome: TaskOutcome) -> None:
    """What a person should know of a task that is answered."""
    if outcome.unfinished:
        logger.warning("%s ended before these handlers did: %s", _named(task), ", ".join(outcome.unfinished))
    for text in outcome.dropped:
        logger.error("%s: %s", _named(task), text)
    for text in outcome.untaken:
        logger.warning("%s: %s", _named(task), text)


def _named(task: PollWorkflowTaskQueueResponse) -> str:
    return f"{task.workflow_type.name} {task.workflow_execution.workflow_id!r}"


def _cause_of(error: Exception) -> WorkflowTaskFailedCause.ValueType:
    if isinstance(error, NonDeterminismError):
        return WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
    if isinstance(error, PayloadTooLargeError):
        return WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_PAYLOADS_TOO_LARGE
    return WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
