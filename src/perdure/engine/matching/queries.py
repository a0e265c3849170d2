"""Questions to workflows, answered by a worker; history never knows of them.

A query sees everything that was durable when it was asked. So while a workflow task is owed or running
the query waits and goes out with the next task that starts (`queries` of its response); when no task is
owed it goes alone, first to the worker that has the workflow in memory (its sticky queue), then, if that
one does not take it in time, to any worker of the normal queue, with the whole history. Queries that
nobody answers end with their caller, or after a long poll's time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from temporalio.api.common.v1 import Payloads
from temporalio.api.errordetails.v1 import NotFoundFailure, QueryFailedFailure, WorkflowNotReadyFailure
from temporalio.api.failure.v1 import Failure
from temporalio.api.query.v1 import QueryRejected, WorkflowQuery, WorkflowQueryResult

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.api.failures import bounded
from perdure.api.status import is_open
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey, QueueName, TaskKind
from perdure.core.refusals import workflow_not_found
from perdure.core.start import waits_for_first_task
from perdure.core.started import StartedWorkflowTask
from perdure.engine.feed.feed import Feed
from perdure.engine.feed.news import News
from perdure.engine.matching.matching import Matching
from perdure.engine.matching.query_task import QueryTask, QueryToken
from perdure.engine.node.config import EngineConfig
from perdure.engine.submission import Read, Submit

Reply = TypeVar("Reply")

_log = logging.getLogger(__name__)

_AT = "@"
"""Between what makes a query's id unique and the node that asked."""
_FAILING_ATTEMPT = 3
"""A workflow task that is about to be tried so often is taken for broken, as Temporal's server does."""


class Others(Protocol):
    """`perdure.engine.matching.elsewhere.Elsewhere`: the other nodes, as far as questions go."""

    def put(self, queue: QueueName, task: QueryTask, /) -> bool: ...

    def put_again(self) -> None: ...

    def is_of_another(self, token: QueryToken, /) -> bool: ...

    def spread(self, queues: Sequence[QueueName], task: QueryTask, /) -> None: ...

    def done(self, task: QueryTask, /) -> None: ...

    def answer(
        self,
        token: QueryToken,
        result_type: int,
        answer: Payloads,
        error_message: str,
        failure: Failure,
        key: ExecutionKey | None = None,
        /,
    ) -> None: ...


class Queries:
    """See the module's text. `waiting` is empty nearly always: whoever serves tasks looks at it first."""

    def __init__(
        self, submit: Submit, matching: Matching, feed: Feed, new_id: Callable[[], str], config: EngineConfig
    ) -> None:
        self._submit = submit
        self._feed = feed
        self._matching = matching
        self._new_id = new_id
        self._wait_s = config.long_poll_ns / 1e9
        self._max = config.watchers_max
        self._asked: dict[str, QueryTask] = {}
        self._hosted: dict[str, QueryTask] = {}
        """Questions of other nodes that wait here for a workflow task, by query id."""
        self.elsewhere: Others | None = None
        """None: there is no other node."""
        self.node = ""
        """What this one is called among them."""
        self.waiting: dict[str, dict[str, QueryTask]] = {}
        """By run id and query id: those that go with the run's next workflow task."""

    def stop(self) -> None:
        """Everybody who asks is told that the engine stops."""
        stopping = Rejected(StatusCode.UNAVAILABLE, "The engine is stopping: connect again and ask again.")
        for task in list(self._asked.values()):
            task.fail(stopping)
        for task in list(self._hosted.values()):
            self.unhost(task.token)

    # --- asking ---------------------------------------------------------------------------------

    async def ask(
        self,
        namespace: str,
        workflow_id: str,
        run_id: str,
        query: WorkflowQuery,
        reject_condition: enums.QueryRejectCondition,
    ) -> Payloads | QueryRejected:
        """The answer of a worker, or why the question was not put.

        Raises Rejected NOT_FOUND; INVALID_ARGUMENT (detail QueryFailedFailure) when the handler failed or is
        missing; FAILED_PRECONDITION when the workflow cannot be asked now; DEADLINE_EXCEEDED when nobody answered.
        """
        if len(self._asked) >= self._max:
            raise Rejected(StatusCode.RESOURCE_EXHAUSTED, "Too many queries wait for an answer: try again later.")
        loop = asyncio.get_running_loop()
        task = QueryTask(
            ExecutionKey(namespace, workflow_id, run_id),
            QueryToken(namespace, f"{self._new_id()}{_AT}{self.node}" if self.node else self._new_id(), self.node),
            query,
            loop.create_future(),
        )
        query_id = task.token.query_id
        self._asked[query_id] = task
        timer = loop.call_later(self._wait_s, task.fail, _nobody_answered())
        try:
            look = Read(partial(self._put, task, reject_condition))
            await self._submit(namespace, workflow_id, run_id, look)
            return await task.future
        finally:
            timer.cancel()
            if not task.future.cancel() and not task.future.cancelled():
                task.future.exception()  # the caller is told, or is gone
            del self._asked[query_id]
            self._forget(task)
            if self.elsewhere is not None:
                self.elsewhere.done(task)

    def _put(self, task: QueryTask, reject_condition: enums.QueryRejectCondition, execution: Execution | None) -> None:
        """In the run's turn: no commit slips between the look and the wait."""
        if execution is None:
            raise workflow_not_found()
        if _is_rejected(execution.status, reject_condition):
            task.future.set_result(QueryRejected(status=execution.status))  # pyright: ignore[reportArgumentType]
            return
        task.look(execution)
        if not execution.is_open:
            self._send(task, execution)
            return
        if waits_for_first_task(execution):
            raise _not_ready("Workflow task is not scheduled yet.")
        if execution.facts.task_attempt >= _FAILING_ATTEMPT:
            raise _task_fails()
        if execution.current_task is None and execution.started_task_completed:
            self._send(task, execution)
        else:
            self._wait(execution.key.run_id, task)
            self._spread(task)

    def _wait(self, run_id: str, task: QueryTask) -> None:
        if run_id not in self.waiting:
            self.waiting[run_id] = {}
            self._feed.follow(run_id, self)
        self.waiting[run_id][task.token.query_id] = task

    def _spread(self, task: QueryTask) -> None:
        """The workflow task that it waits for may go out at another node."""
        if self.elsewhere is not None:
            names = [name for name in (task.sticky_queue, task.task_queue) if name]
            queues = [QueueName(task.key.namespace, name, TaskKind.WORKFLOW) for name in names]
            self.elsewhere.spread(queues, task)

    def spread_again(self) -> None:
        """What was told to other nodes may have been lost, or others poll now."""
        for of_run in self.waiting.values():
            for task in of_run.values():
                if task.token.query_id not in self._hosted:
                    self._spread(task)

    def host(self, task: QueryTask) -> None:
        """Have a question of another node wait for a workflow task that goes out here."""
        self._hosted[task.token.query_id] = task
        self._wait(task.key.run_id, task)
        task.future.add_done_callback(lambda _: self.unhost(task.token))

    def unhost(self, token: QueryToken) -> bool:
        """The question does not wait here any more. False: it did not."""
        task = self._hosted.pop(token.query_id, None)
        if task is None:
            return False
        self._forget(task)
        task.future.cancel()
        return True

    def _send(self, task: QueryTask, execution: Execution) -> None:
        """Alone: to the worker that knows the workflow, if one does."""
        facts = execution.facts
        sticky = QueueName(task.key.namespace, facts.sticky_queue, TaskKind.WORKFLOW)
        if execution.is_open and facts.sticky_queue and self._is_served(sticky):
            task.sticky = True
            self.offer(sticky, task)
            wait_s = facts.sticky_schedule_to_start_ns / 1e9
            asyncio.get_running_loop().call_later(wait_s, self._leave_sticky, sticky, task)
        else:
            self._send_to_normal(task)

    def _send_to_normal(self, task: QueryTask) -> None:
        task.sticky = False
        self.offer(QueueName(task.key.namespace, task.task_queue, TaskKind.WORKFLOW), task)

    def offer(self, queue: QueueName, task: QueryTask) -> None:
        """Put a question to whoever polls that queue, here or at another node; a sticky one, if nobody does, to any."""
        if task.sticky and not self._is_served(queue):
            self._send_to_normal(task)
        elif self.elsewhere is None or not self.elsewhere.put(queue, task):
            self._matching.offer(queue, task)

    def _is_served(self, queue: QueueName) -> bool:
        return self._matching.is_polled(queue) or self._matching.polled_elsewhere(queue)

    def _leave_sticky(self, sticky: QueueName, task: QueryTask) -> None:
        """The one worker did not take it: any other may."""
        if not task.future.done() and self._matching.withdraw(sticky, task):
            self._send_to_normal(task)

    def _forget(self, task: QueryTask) -> None:
        of_run = self.waiting.get(task.key.run_id)
        if of_run is not None:
            of_run.pop(task.token.query_id, None)
            if not of_run:
                del self.waiting[task.key.run_id]
                self._feed.unfollow(task.key.run_id, self)

    # --- with workflow tasks --------------------------------------------------------------------

    def attached(self, started: StartedWorkflowTask) -> Mapping[str, WorkflowQuery]:
        """What a workflow task that goes out now asks as well, by query id. They wait on until answered."""
        this = (started.started_event_id, started.attempt)
        of_run = self.waiting.get(started.key.run_id, {})
        return {query_id: task.query for query_id, task in of_run.items() if task.behind != this}

    def hear(self, news: News) -> None:
        """A run that questions wait for has gone on."""
        if news.commit is None:
            self._look_again(news.key)
        elif news.commit.execution is not None:
            self._go_on(news.commit.execution)

    def gap(self) -> None:
        """Any of the runs may have gone on, and a node that was asked may be gone."""
        if self.elsewhere is not None:
            self.elsewhere.put_again()
        for of_run in list(self.waiting.values()):
            self._look_again(next(iter(of_run.values())).key)

    def _look_again(self, key: ExecutionKey) -> None:
        def look(execution: Execution | None) -> None:
            if execution is not None:
                self._go_on(execution)

        try:
            self._submit(key.namespace, key.workflow_id, key.run_id, Read(look)).add_done_callback(_not_read)
        except Rejected as error:
            _not_read(error)

    def _go_on(self, execution: Execution) -> None:
        """The questions of a run that owes no workflow task go alone; where one fails on, they fail too."""
        run_id = execution.key.run_id
        if run_id not in self.waiting:
            return
        waiting = [task for task in self.waiting[run_id].values() if not task.is_answered]
        own = [task for task in waiting if task.token.query_id not in self._hosted]
        if execution.facts.task_attempt >= _FAILING_ATTEMPT:
            for task in own:
                task.fail(_task_fails())
        if execution.current_task is not None:
            return
        for task in waiting:
            self.unhost(task.token)  # who asked it sends it alone
        for task in own:
            self._forget(task)
            task.look(execution)
            self._send(task, execution)

    # --- answers --------------------------------------------------------------------------------

    async def answered_by(
        self, key: ExecutionKey, reply: Awaitable[Reply], results: Mapping[str, WorkflowQueryResult]
    ) -> Reply:
        """The reply to a workflow task of a run that came back with these answers: they hold once it is committed.

        Until then the questions that they answer go with no other task. If the reply fails, as it does here too, they
        are asked again. What nobody waits for any more is dropped, and what another run was asked: a worker answers
        for its own.
        """
        asked = [(self._find(query_id), result) for query_id, result in results.items()]
        answered = [(task, result) for task, result in asked if task is not None and task.key == key]
        for task, _ in answered:
            task.is_answered = True
        try:
            done = await reply
        except BaseException:
            for task, _ in answered:
                task.is_answered = False
            for key in {task.key for task, _ in answered}:
                self._look_again(key)
            raise
        for task, result in answered:
            if task.token.query_id in self._asked:
                _settle(task, result.result_type, result.answer, result.error_message, result.failure)
        if self.elsewhere is not None:
            for query_id, result in results.items():
                self._tell_answer(self.elsewhere, key, query_id, result)
        return done

    def _find(self, query_id: str) -> QueryTask | None:
        return self._asked.get(query_id) or self._hosted.get(query_id)

    def _tell_answer(self, elsewhere: Others, key: ExecutionKey, query_id: str, result: WorkflowQueryResult) -> None:
        """An answer that came back with a workflow task, to the node that asked: its name is in the query's id."""
        _, has_node, node = query_id.rpartition(_AT)
        token = QueryToken(key.namespace, query_id, node)
        if has_node and elsewhere.is_of_another(token):
            elsewhere.answer(token, result.result_type, result.answer, result.error_message, result.failure, key)
            self.unhost(token)

    def answer(
        self,
        token: QueryToken,
        result_type: enums.QueryResultType,
        answer: Payloads,
        error_message: str,
        failure: Failure,
    ) -> None:
        """A query task came back. Raises Rejected NOT_FOUND when nobody waits for it any more."""
        if self.elsewhere is not None and self.elsewhere.is_of_another(token):
            self.elsewhere.answer(token, result_type, answer, error_message, failure)
            return
        task = self._asked.get(token.query_id)
        if task is None or task.token != token or task.future.done():
            raise Rejected(StatusCode.NOT_FOUND, "query task not found, or already expired", NotFoundFailure())
        _settle(task, result_type, answer, error_message, failure)

    def settle(
        self,
        token: QueryToken,
        result_type: int,
        answer: Payloads,
        error_message: str,
        failure: Failure,
        key: ExecutionKey | None = None,
    ) -> None:
        """Another node's worker has answered; `key`: for this run. Without effect when nobody waits for it any more."""
        task = self._asked.get(token.query_id)
        if task is not None and task.token.namespace == token.namespace and key in (None, task.key):
            _settle(task, result_type, answer, error_message, failure)


def _is_rejected(status: int, condition: enums.QueryRejectCondition) -> bool:
    if condition == enums.QUERY_REJECT_NOT_OPEN:
        return not is_open(status)
    if condition == enums.QUERY_REJECT_NOT_COMPLETED_CLEANLY:
        return not is_open(status) and status not in (enums.COMPLETED, enums.CONTINUED_AS_NEW)
    return False


def _settle(task: QueryTask, result_type: int, answer: Payloads, error_message: str, failure: Failure) -> None:
    if task.future.done():
        return
    if result_type == enums.QUERY_ANSWERED:
        task.future.set_result(answer)
        return
    detail = QueryFailedFailure()
    if failure.ByteSize():
        detail.failure.CopyFrom(bounded(failure))
    task.future.set_exception(Rejected(StatusCode.INVALID_ARGUMENT, error_message, detail))


def _not_ready(message: str) -> Rejected:
    return Rejected(StatusCode.FAILED_PRECONDITION, message, WorkflowNotReadyFailure())


def _task_fails() -> Rejected:
    return _not_ready("Unable to query workflow due to Workflow Task in failed state.")


def _nobody_answered() -> Rejected:
    return Rejected(
        StatusCode.DEADLINE_EXCEEDED,
        "No worker answered the query in time: see that one polls the workflow's task queue.",
    )


def _not_read(reply: asyncio.Future[None] | Rejected) -> None:
    """A run could not be looked at: its questions wait for the next news of it, or for their end."""
    error = reply if isinstance(reply, Rejected) else reply.exception()
    if error is not None:
        _log.debug("a run that questions wait for cannot be looked at: %s", error)
