"""The client.

A workflow id is an idempotency key: the same request under an id that exists attaches to what exists, open or
closed, unless the caller's policies say otherwise. So a program that died between starting and
noting that it had started simply starts again. Another request under that id is refused (`attaching.py`).
"""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, TypeVarTuple, Unpack, cast, overload

from temporalio.api.common.v1 import Payload, WorkflowType
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.api.status import OPEN_FILTER
from perdure.sdk.client import attaching, enlisting
from perdure.sdk.client.activities import AsyncActivities
from perdure.sdk.client.attributes import AsyncSearchAttributeRegistry
from perdure.sdk.client.calls import Reach, public_error
from perdure.sdk.client.checking import check_replay
from perdure.sdk.client.descriptions import WorkflowStatus, WorkflowSummary, summary_of
from perdure.sdk.client.events import AsyncEvents
from perdure.sdk.client.former import with_former_methods
from perdure.sdk.client.handle import AsyncWorkflowHandle
from perdure.sdk.client.ids import random_id
from perdure.sdk.client.outbound import composed
from perdure.sdk.client.schedules import AsyncSchedules, create_schedule
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.client.with_start import companion, enlist_with_signal, start_with
from perdure.sdk.connection.far import FarConnection, far_connection
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.connection.tls import TLSConfig
from perdure.sdk.convert import Converter, PayloadCodec
from perdure.sdk.convert.user_metadata import put_metadata
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.declare.named import NamedWorkflow, workflow_given
from perdure.sdk.declare.startable import Runs, StartableWorkflow, StartOptions
from perdure.sdk.errors import EngineClosedError, EngineError
from perdure.sdk.interceptors import Interceptor, StartWorkflowInput, checked_interceptors, put_headers
from perdure.sdk.option_names import lists_options, takes_options
from perdure.sdk.options import count, duration_message, positive_duration
from perdure.sdk.policies import IdConflictPolicy, IdReusePolicy, conflict_policy, reuse_policy
from perdure.sdk.replay.checking import ReplayReport, Workflows
from perdure.sdk.starting import put_notes, put_repetition, put_timeouts
from perdure.sdk.texts import check_text
from perdure.sdk.worker.worker import default_identity
from perdure.sdk.workflow.outbound import composer

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

LIST_PAGE = 1000
_NO_HEADERS: Mapping[str, Payload] = {}
_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(StartOptions.__annotations__),
    **dict.fromkeys(("start_signal_args", "start_update_args"), ()),
}


_log = logging.getLogger("perdure.client")


class Stoppable(Protocol):
    """Who works through a client, and must have stopped before its connection goes."""

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop, with grace for what is in hand unless it is `at_once`."""


if TYPE_CHECKING:  # type checkers know the names of now alone
    Former = object
else:
    from perdure.sdk.client.former import Former


@with_former_methods
@lists_options
@sends_texts
class AsyncClient(Former):
    """A client of a server: starts workflows and asks for them. Safe to use from many tasks of one event loop.

    `connect` makes one; this constructor is for a connection that is open already, and stays its maker's to close.

    Args:
        connection: the server.
        namespace: where the workflows live.
        task_queue: whose workers run what is started here, unless `start` names another.
        converter: for arguments and results.
        identity: who is asking, as history will name it.
        retry_s: how long to go on asking a server that is busy or away.
        interceptors: around starts, messages and the like (`perdure.interceptors`), the first the outermost.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        namespace: str = "default",
        task_queue: str = "default",
        converter: Converter | None = None,
        identity: str | None = None,
        retry_s: float = 10.0,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        for what, text in (("namespace", namespace), ("task_queue", task_queue), ("identity", identity)):
            check_text(text, what)
        self._reach = Reach(
            connection,
            namespace,
            converter or Converter(),
            identity or default_identity(),
            retry_s,
            random_id,
            self._check_usable,
        )
        self._interceptors = checked_interceptors(interceptors)
        schedule = partial(create_schedule, self._reach, self._scheduled_request)
        self._reach.outbound = composed(self._interceptors, self._reach, self._begin, schedule)
        self._task_queue = task_queue
        self._owned: FarConnection | None = None
        self._working: set[Stoppable] = set()
        """Those that work through this client's connection."""

    @staticmethod
    async def connect(
        url: str,
        *,
        namespace: str = "default",
        task_queue: str = "default",
        codec: PayloadCodec | None = None,
        identity: str | None = None,
        interceptors: Sequence[Interceptor] = (),
        tls: TLSConfig | None = None,
        api_key: str | None = None,
    ) -> AsyncClient:
        """Connect to a server: `client = await AsyncClient.connect("grpc://host:7233")`, to be closed in the end.

        Args:
            url: "grpc://host:7233", or "grpcs://…" with TLS: `perdure server`, or any of Temporal's API.
            namespace: where the workflows live.
            task_queue: whose workers run what is started here, unless `start` names another.
            codec: applied to all payloads, e.g. to encrypt them.
            identity: who is asking, as history will name it; default `pid@host`.
            interceptors: around starts, messages and the like (`perdure.interceptors`), the first the outermost.
            tls: whom to trust, and what certificate to show, with "grpcs://".
            api_key: who is asking, proved: sent with every call.

        Raises:
            EngineError: the server does not answer within ten seconds; gRPC is not installed; a certificate cannot be
                read.
            ValueError: the URL is none of a server. A store is opened by `Engine`.
        """
        connection = far_connection(url, tls=tls, api_key=api_key, namespace=namespace)
        await connection.open()
        client = AsyncClient(
            connection.rpcs,
            namespace=namespace,
            task_queue=task_queue,
            converter=Converter(codec),
            identity=identity,
            interceptors=interceptors,
        )
        client._owned = connection
        try:
            reach = client._reach
            await reach.ask(reach.connection.get_system_info, service.GetSystemInfoRequest(), f"connecting to {url}")
        except BaseException:
            await client.close()
            raise
        return client

    async def close(self) -> None:
        """Close the connection that `connect` has made. Idempotent: a second time raises nothing.

        Workers that have it are stopped first, for what they have in hand could not be reported any more.
        """
        owned, self._owned = self._owned, None
        if owned is not None:
            await self._stop_workers()
            self._reach.check = _refuse_closed
            await owned.close()

    async def _stop_workers(self, *, at_once: bool = False) -> None:
        """Stop those that others started beside this client, while it can still be asked."""
        if self._working:
            _log.warning("a client is closed whose workers are at work: they stop first (%d)", len(self._working))
            await asyncio.gather(*(worker.stop(at_once=at_once) for worker in self._working))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def activities(self) -> AsyncActivities:
        """Activities that have not ended: completed from outside, paused, given other options."""
        return AsyncActivities(self._reach)

    @property
    def events(self) -> AsyncEvents:
        """Events that workflows subscribe to, or are begun by."""
        return AsyncEvents(self._reach, self._task_queue)

    @property
    def search_attributes(self) -> AsyncSearchAttributeRegistry:
        """The names and types by which the namespace's runs can be found."""
        return AsyncSearchAttributeRegistry(self._reach)

    @property
    def schedules(self) -> AsyncSchedules:
        """Workflows that start by the clock."""
        return AsyncSchedules(self._reach, self._scheduled_request)

    def _scheduled_request(
        self, definition: AnyWorkflow, args: tuple[Any, ...], workflow_id: str, task_queue: str | None
    ) -> service.StartWorkflowExecutionRequest:
        self._check_startable(definition, task_queue or definition.task_queue or self._task_queue)
        return self._request(definition, args, workflow_id, task_queue)

    @overload
    async def start(
        self, workflow: NamedWorkflow[R], *args: Any, **options: Unpack[StartOptions]
    ) -> AsyncWorkflowHandle[R]: ...
    @overload
    async def start(
        self, workflow: StartableWorkflow[*Ts, R], *args: *Ts, **options: Unpack[StartOptions]
    ) -> AsyncWorkflowHandle[R]: ...
    @overload
    async def start(
        self, workflow: type[Runs[*Ts, Coroutine[Any, Any, R]]], *args: *Ts, **options: Unpack[StartOptions]
    ) -> AsyncWorkflowHandle[R]: ...
    @overload
    async def start(
        self, workflow: type[Runs[*Ts, R]], *args: *Ts, **options: Unpack[StartOptions]
    ) -> AsyncWorkflowHandle[R]: ...
    @overload
    async def start(self, workflow: str, *args: Any, **options: Unpack[StartOptions]) -> AsyncWorkflowHandle[Any]: ...
    @takes_options(StartOptions, **_DEFAULTS)
    async def start(self, workflow: Any, *args: Any, **options: Unpack[StartOptions]) -> AsyncWorkflowHandle[Any]:
        """Start a workflow, or attach to the one of that id.

        Args:
            workflow: decorated with @workflow, or `workflow.named(...)`; a text names one whose code is elsewhere.
            args: its positional arguments.
            id: the idempotency key; default a fresh UUID.
            task_queue: whose workers run it.
            execution_timeout: for the whole chain of runs.
            run_timeout: for one run.
            task_timeout: for one turn of workflow code; the server's default is 10 s.
            start_delay: wait before the first turn.
            id_reuse_policy: for a closed run of that id; default: attach to it.
            id_conflict_policy: for an open run of that id; default: attach to it. "use_existing": attach whatever its
                arguments are.
            memo: values kept beside the run, for people.
            search_attributes: values by which runs are listed, by name or by `SearchAttribute`.
            retry: run it again as a whole when it fails, as a new run of the same id; default never.
            cron_schedule: run it again and again, each time as a new run of the same id: "0 12 * * MON-FRI", "@daily",
                "@every 90m", in UTC or behind "CRON_TZ=Europe/Berlin "; for anything more `engine.schedules` is better.
            static_summary: one line for people, shown beside the run.
            static_details: more than a line; Markdown, in Temporal's UI.
            start_signal: a signal, by name or as the method that handles it, for the open run of that id, or for the
                one that is started, which has it before its first line runs. `id_reuse_policy` is then
                "allow_duplicate" by default: a closed run takes no message.
            start_update: likewise an update; the handle's `update_of_start` waits for its answer.
            start_signal_args, start_update_args: the message's arguments.
            start_update_id, request_id: idempotency keys, of the update and of all else; default fresh UUIDs.
            connection: psycopg's or asyncpg's, to the database of the engine's store on PostgreSQL: the workflow is
                started when the transaction of this connection is committed, and never if it is rolled back.

        Raises:
            WorkflowAlreadyStartedError: the id belongs to a run of another type or with other arguments, or the
                policies forbid.
            PayloadError: an argument cannot be serialised, or is too large; a search attribute has no such type.
            TypeError: the arguments do not fit the workflow.
            ValueError: an empty id, a policy or a time-out that cannot be.
            EngineError: the server refused.
        """
        definition = workflow_given(workflow)
        outbound = self._reach.outbound
        if outbound is None:
            return await self._begin(definition, args, options, _NO_HEADERS, _NO_HEADERS)
        return await outbound.start_workflow(StartWorkflowInput(definition, args, {**_DEFAULTS, **options}))

    async def _begin(
        self,
        definition: AnyWorkflow,
        args: tuple[Any, ...],
        options: StartOptions,
        headers: Mapping[str, Payload],
        message_headers: Mapping[str, Payload],
    ) -> AsyncWorkflowHandle[Any]:
        """`start`, behind the interceptors."""
        id, task_queue, start_delay = options.get("id"), options.get("task_queue"), options.get("start_delay")
        self._check_startable(definition, task_queue or definition.task_queue or self._task_queue)
        if id == "":
            raise ValueError("id must not be empty; leave it out to have a fresh one")
        given, of_open = options.get("id_reuse_policy"), options.get("id_conflict_policy")
        sent = companion(options)
        if sent is not None and given is None:
            given = IdReusePolicy.ALLOW_DUPLICATE
        reuse = None if given is None else reuse_policy(given)
        conflict = None if of_open is None else conflict_policy(of_open)
        converter = self._reach.converter
        request = self._request(definition, args, id or self._reach.new_id(), task_queue)
        put_timeouts(request, options.get("execution_timeout"), options.get("run_timeout"), options.get("task_timeout"))
        delay_ns = positive_duration(start_delay, "start_delay") if start_delay else None
        if delay_ns is not None:
            request.workflow_start_delay.CopyFrom(duration_message(delay_ns))
        connection = options.get("connection")
        # What is only done later is compared with nothing then: so it is refused rather than attached to another one.
        attaches = connection is None or sent is not None
        _put_policies(request, reuse, conflict, IdConflictPolicy.USE_EXISTING if attaches else IdConflictPolicy.FAIL)
        put_notes(request, converter, options.get("memo"), options.get("search_attributes"))
        put_repetition(request, options.get("retry"), options.get("cron_schedule"))
        put_metadata(request, converter, options.get("static_summary"), options.get("static_details"))
        if headers:
            put_headers(request.header, headers)
        request_id = options.get("request_id")
        if request_id is not None:
            request.request_id = request_id
        if sent is None or connection is not None:
            run_id: str | None = None
            if sent is None:
                run_id, enlisted = await self._start(request, definition, reuse, conflict, connection)
            else:
                enlisted = await enlist_with_signal(self._reach, request, definition, sent, message_headers, connection)
            begun = AsyncWorkflowHandle[Any](self._reach, request.workflow_id, run_id, definition.return_type)
            begun._enlisted = enlisted  # pyright: ignore[reportPrivateUsage] - its maker
            return begun
        run_id, update = await start_with(self._reach, request, definition, sent, message_headers)
        handle = AsyncWorkflowHandle[Any](self._reach, request.workflow_id, run_id, definition.return_type)
        handle.update_of_start = update
        return handle

    @overload
    async def run(self, workflow: NamedWorkflow[R], *args: Any, **options: Unpack[StartOptions]) -> R: ...
    @overload
    async def run(self, workflow: StartableWorkflow[*Ts, R], *args: *Ts, **options: Unpack[StartOptions]) -> R: ...
    @overload
    async def run(
        self, workflow: type[Runs[*Ts, Coroutine[Any, Any, R]]], *args: *Ts, **options: Unpack[StartOptions]
    ) -> R: ...
    @overload
    async def run(self, workflow: type[Runs[*Ts, R]], *args: *Ts, **options: Unpack[StartOptions]) -> R: ...
    @overload
    async def run(self, workflow: str, *args: Any, **options: Unpack[StartOptions]) -> Any: ...
    @takes_options(StartOptions, **_DEFAULTS)
    async def run(self, workflow: Any, *args: Any, **options: Unpack[StartOptions]) -> Any:
        """`start` and wait for the result. Raises as both do."""
        if options.get("connection") is not None:
            raise ValueError("run() waits for the result of what your transaction has not committed yet: use start()")
        handle = await self.start(workflow, *args, **options)
        return await handle.result()

    def get(self, id: str, run_id: str | None = None, *, result_type: Any = Any) -> AsyncWorkflowHandle[Any]:
        """A handle to a workflow that may exist; nothing is asked yet.

        Args:
            id: the workflow id.
            run_id: one of its runs; default whichever is current when something is asked.
            result_type: what `result()` decodes to; default what the JSON says.

        Raises TypeError, ValueError: an id that is no text, or cannot be sent.
        """
        check_text(id, "id")
        check_text(run_id, "run_id")
        return AsyncWorkflowHandle(self._reach, id, run_id, result_type)

    async def list(self, query: str = "", *, limit: int = LIST_PAGE) -> builtins.list[WorkflowSummary]:
        """Executions that match, at most `limit`: open ones first, the newest first.

        Args:
            query: Temporal's list filter, such as `WorkflowType = "order" AND StartTime > "2026-01-01T00:00:00Z"`;
                "": all. See docs/visibility.md.

        Raises:
            EngineError: the query cannot be answered.
            TypeError, ValueError: a limit that is no count.
        """
        count(limit, "limit")
        request = service.ListWorkflowExecutionsRequest(namespace=self._reach.namespace, query=query)
        found: builtins.list[WorkflowSummary] = []
        while len(found) < limit:
            request.page_size = min(limit - len(found), LIST_PAGE)
            page = await self._reach.ask(self._reach.connection.list_workflow_executions, request, "listing workflows")
            found.extend(summary_of(info) for info in page.executions)
            if not page.next_page_token:
                break
            request.next_page_token = page.next_page_token
        return found

    async def count(self, query: str = "") -> int:
        """How many executions match a list filter. Raises EngineError."""
        request = service.CountWorkflowExecutionsRequest(namespace=self._reach.namespace, query=query)
        response = await self._reach.ask(
            self._reach.connection.count_workflow_executions, request, "counting workflows"
        )
        return response.count

    async def check_replay(
        self,
        workflows: Workflows = None,
        *,
        query: str = OPEN_FILTER,
        progress: Callable[[ReplayReport], None] | None = None,
    ) -> ReplayReport:
        """Replay open executions against code that is to be deployed: which of them would it break, and where?

        Nothing is changed and nothing is run: each history is replayed up to its last completed workflow task, with
        this client's interceptors around the code. One history is in memory at a time.

        Args:
            workflows: the code: workflows, modules of them; default everything decorated in this process.
            query: which executions; default all that are open.
            progress: called after each with the report so far.

        Raises:
            EngineError: the server cannot be asked.
            DefinitionError: no workflow was given.
        """
        return await check_replay(self._reach, workflows, query, progress, composer(self._interceptors))

    async def count_by_status(self) -> dict[WorkflowStatus, int]:
        """How many executions have each status; those with none are left out. Raises EngineError."""
        request = service.CountWorkflowExecutionsRequest(
            namespace=self._reach.namespace, query="GROUP BY ExecutionStatus"
        )
        response = await self._reach.ask(
            self._reach.connection.count_workflow_executions, request, "counting workflows"
        )
        return {_status_named(json.loads(g.group_values[0].data)): g.count for g in response.groups}

    def _check_usable(self) -> None:
        """Before every request; an embedded engine refuses here once it is closed."""

    def _check_startable(self, definition: AnyWorkflow, task_queue: str) -> None:
        """Before every start; an embedded engine refuses here what its own worker would not know."""

    def _request(
        self, definition: AnyWorkflow, args: tuple[Any, ...], workflow_id: str, task_queue: str | None
    ) -> service.StartWorkflowExecutionRequest:
        args = definition.bind(args, {})
        payloads = self._reach.converter.to_payloads(args, f"the arguments of workflow {definition.name}")
        request = service.StartWorkflowExecutionRequest()
        request.namespace = self._reach.namespace
        request.workflow_id = workflow_id
        request.workflow_type.CopyFrom(WorkflowType(name=definition.name))
        request.task_queue.CopyFrom(TaskQueue(name=task_queue or definition.task_queue or self._task_queue))
        request.identity = self._reach.identity
        request.request_id = self._reach.new_id()
        if payloads:
            request.input.payloads.extend(payloads)
        return request

    async def _start(
        self,
        request: service.StartWorkflowExecutionRequest,
        definition: AnyWorkflow,
        reuse: IdReusePolicy | None,
        conflict: IdConflictPolicy | None,
        connection: Any,
    ) -> tuple[str | None, enlisting.Enlisted | None]:
        """The id of the run that was started, or that is there already; or the request in the caller's transaction."""
        reach, rpc = self._reach, self._reach.connection.start_workflow_execution
        try:
            if connection is not None:
                what = f"the start of workflow {request.workflow_id!r}"
                response = await reach.call(partial(enlisting.enlist, reach, connection, what=what), request)
                if isinstance(response, enlisting.Enlisted):
                    response.is_attached = partial(attaching.attached_late, reach, request, definition, reuse, conflict)
                    return None, response
            else:
                response = await reach.call(rpc, request)
        except Rejected as rejected:
            if rejected.code != StatusCode.ALREADY_EXISTS:
                raise public_error(rejected, f"starting workflow {request.workflow_id!r}") from rejected
            return await attaching.attach(reach, request, definition, rejected, reuse, conflict), None
        if not response.started:
            await attaching.check_same(reach, request, definition, response.run_id, conflict)
        return response.run_id, None


def _put_policies(
    request: service.StartWorkflowExecutionRequest,
    reuse: IdReusePolicy | None,
    conflict: IdConflictPolicy | None,
    default_conflict: IdConflictPolicy,
) -> None:
    reuse_value = (reuse or IdReusePolicy.REJECT_DUPLICATE).number
    request.workflow_id_reuse_policy = cast(WorkflowIdReusePolicy.ValueType, reuse_value)
    if conflict is None and reuse is IdReusePolicy.TERMINATE_IF_RUNNING:
        return  # that reuse policy speaks of open runs too; the server takes no second word on them
    conflict_value = (conflict or default_conflict).number
    request.workflow_id_conflict_policy = cast(WorkflowIdConflictPolicy.ValueType, conflict_value)


def _refuse_closed() -> None:
    raise EngineClosedError("the client is closed")


def _status_named(name: str) -> WorkflowStatus:
    """From the query language's spelling, "TimedOut"."""
    spelled = "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper()
    try:
        return WorkflowStatus[spelled]
    except KeyError as error:
        raise EngineError(f"the server counts an unknown status {name!r}") from error
