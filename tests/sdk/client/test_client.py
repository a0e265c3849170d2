"""The client: starting or attaching, waiting over continued runs, and what it tells of a run."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.client import AsyncClient, IdConflictPolicy, IdReusePolicy, WorkflowStatus
from perdure.sdk.convert import Converter, PayloadCodec, failure_of
from perdure.sdk.errors import (
    ApplicationError,
    CancelledError,
    DefinitionError,
    EngineError,
    PayloadTooLargeError,
    TerminatedError,
    TimedOutError,
    WorkflowAlreadyStartedError,
    WorkflowFailedError,
    WorkflowNotFoundError,
)
from perdure.sdk.moments import moment_of
from perdure.sdk.workflow.workflow import workflow
from perdure.testing.virtual_time import VirtualTimeLoop, run_virtual

CONVERTER = Converter()


@dataclasses.dataclass
class Receipt:
    amount: int


@workflow
def pay(amount: int, currency: str = "EUR") -> Receipt:
    return Receipt(amount)


class Server:
    """Answers each RPC with the next of what the test prepared for it, and notes the requests."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = {name: deque(values) for name, values in answers.items()}
        self.requests: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        async def rpc(request: Any) -> Any:
            copy = type(request)()
            copy.CopyFrom(request)
            self.requests.append(copy)
            answer = self._answers[name].popleft()
            if isinstance(answer, Exception):
                raise answer
            return answer

        if name not in self.__dict__["_answers"]:
            raise AssertionError(f"the client asked for {name}")
        return rpc


def client(server: Server, **options: Any) -> AsyncClient:
    return AsyncClient(cast(Any, server), identity="me", **options)


def started(run_id: str = "r1", *, new: bool = True) -> service.StartWorkflowExecutionResponse:
    return service.StartWorkflowExecutionResponse(run_id=run_id, started=new)


def described(workflow_type: str, status: WorkflowStatus) -> service.DescribeWorkflowExecutionResponse:
    response = service.DescribeWorkflowExecutionResponse()
    info = response.workflow_execution_info
    info.execution.workflow_id, info.execution.run_id = "id", "r1"
    info.type.name = workflow_type
    info.status = cast(Any, status.number)
    return response


def exists(run_id: str = "r1") -> Rejected:
    detail = WorkflowExecutionAlreadyStartedFailure(run_id=run_id)
    return Rejected(StatusCode.ALREADY_EXISTS, "Workflow execution already started", detail)


def page(*events: HistoryEvent, token: bytes = b"") -> service.GetWorkflowExecutionHistoryResponse:
    response = service.GetWorkflowExecutionHistoryResponse(next_page_token=token)
    response.history.events.extend(events)
    return response


def newest(*events: HistoryEvent, token: bytes = b"") -> service.GetWorkflowExecutionHistoryReverseResponse:
    response = service.GetWorkflowExecutionHistoryReverseResponse(next_page_token=token)
    response.history.events.extend(events)
    return response


def closing(kind: str) -> tuple[HistoryEvent, Any]:
    event = HistoryEvent(event_type=EventType.Value(f"EVENT_TYPE_WORKFLOW_EXECUTION_{kind}"))
    return event, getattr(event, f"workflow_execution_{kind.lower()}_event_attributes")


def completed(value: Any) -> HistoryEvent:
    event, attributes = closing("COMPLETED")
    attributes.result.payloads.extend(CONVERTER.to_payloads((value,)))
    return event


def began(*args: Any, workflow_type: str = "pay", first: str = "") -> service.GetWorkflowExecutionHistoryResponse:
    """The first page of a history; `first`: of the first run of the chain that this one continues."""
    event, attributes = closing("STARTED")
    attributes.workflow_type.name = workflow_type
    attributes.input.payloads.extend(CONVERTER.to_payloads(args))
    if first:
        attributes.first_execution_run_id, attributes.continued_execution_run_id = first, "the one before"
    return page(event)


async def test_a_start_says_what_runs_where_and_with_what() -> None:
    server = Server(start_workflow_execution=[started()])
    handle = await client(server, namespace="ns", task_queue="q").start(
        pay, 42, id="id", execution_timeout="1h", run_timeout=60, task_timeout="5s", start_delay="2s", memo={"a": 1}
    )
    assert (handle.id, handle.run_id) == ("id", "r1")
    request = server.requests[0]
    assert (request.namespace, request.workflow_id, request.workflow_type.name) == ("ns", "id", "pay")
    assert (request.task_queue.name, request.identity) == ("q", "me")
    assert [p.data for p in request.input.payloads] == [b"42"]
    assert request.workflow_execution_timeout.seconds == 3600
    assert request.workflow_run_timeout.seconds == 60
    assert request.workflow_task_timeout.seconds == 5
    assert request.workflow_start_delay.seconds == 2
    assert request.memo.fields["a"].data == b"1"
    assert request.request_id


@pytest.mark.parametrize(
    ("given", "reuse", "conflict"),
    [
        ({}, "REJECT_DUPLICATE", "USE_EXISTING"),
        ({"id_reuse_policy": "ALLOW_DUPLICATE"}, "ALLOW_DUPLICATE", "USE_EXISTING"),
        ({"id_conflict_policy": IdConflictPolicy.TERMINATE_EXISTING}, "REJECT_DUPLICATE", "TERMINATE_EXISTING"),
        ({"id_reuse_policy": IdReusePolicy.TERMINATE_IF_RUNNING}, "TERMINATE_IF_RUNNING", "UNSPECIFIED"),
    ],
)
async def test_policies_are_sent_and_the_default_is_to_attach(given: Any, reuse: str, conflict: str) -> None:
    server = Server(start_workflow_execution=[started()])
    await client(server).start(pay, 42, **given)
    request = server.requests[0]
    assert request.workflow_id_reuse_policy == WorkflowIdReusePolicy.Value(f"WORKFLOW_ID_REUSE_POLICY_{reuse}")
    assert request.workflow_id_conflict_policy == WorkflowIdConflictPolicy.Value(
        f"WORKFLOW_ID_CONFLICT_POLICY_{conflict}"
    )


async def test_without_an_id_a_fresh_one_is_made() -> None:
    server = Server(start_workflow_execution=[started(), started()])
    one, two = await client(server).start(pay, 1), await client(server).start(pay, 1)
    assert one.id != two.id
    assert len(one.id) == 36


async def test_the_same_request_again_attaches_to_the_open_run() -> None:
    server = Server(
        start_workflow_execution=[started("old", new=False)],
        get_workflow_execution_history=[began(42)],
    )
    handle = await client(server).start(pay, 42, id="id")
    assert handle.run_id == "old"
    assert (server.requests[-1].execution.run_id, server.requests[-1].maximum_page_size) == ("old", 1)


async def test_the_same_request_again_gives_the_result_of_the_closed_run() -> None:
    server = Server(
        start_workflow_execution=[exists("r1")],
        describe_workflow_execution=[described("pay", WorkflowStatus.COMPLETED)],
        get_workflow_execution_history=[began(42), page(completed({"amount": 7}))],
    )
    assert await client(server).run(pay, 42, id="id") == Receipt(7)
    assert server.requests[-1].execution.run_id == "r1"


@pytest.mark.parametrize("first", [started("r1", new=False), exists("r1")])
async def test_an_id_of_another_type_is_refused(first: Any) -> None:
    server = Server(
        start_workflow_execution=[first],
        describe_workflow_execution=[described("refund", WorkflowStatus.RUNNING)],
        get_workflow_execution_history=[began(42, workflow_type="refund")],
    )
    with pytest.raises(WorkflowAlreadyStartedError, match="belongs to a run of type 'refund', not 'pay'"):
        await client(server).start(pay, 42, id="id")


OTHERS: list[tuple[tuple[Any, ...], tuple[Any, ...], str]] = [
    ((42,), (41,), "amount is 41 there and 42 here"),
    ((42,), (), "amount is missing there and 42 here"),
    ((42, "USD"), (42,), "currency is 'EUR' there and 'USD' here"),
    ((42,), (42, "USD"), "currency is 'USD' there and 'EUR' here"),
    ((42, "EUR"), (41, "USD"), "amount is 41 there and 42 here; currency is 'USD' there and 'EUR' here"),
    ((42, "EUR"), (42, "EUR", 3), "argument 3 is 3 there and missing here"),
    ((42, "x" * 100), (42,), "currency is 'EUR' there and 'xxxxxxxxxxxxxxxxxxx"),
    ((42, "EUR"), (42,), ""),
    ((42,), (42, "EUR"), ""),
]


@pytest.mark.parametrize(("asked", "there", "told"), OTHERS)
@pytest.mark.parametrize("is_open", [True, False])
async def test_another_request_under_a_taken_id_is_told_what_differs(
    asked: tuple[Any, ...], there: tuple[Any, ...], told: str, is_open: bool
) -> None:
    server = Server(
        start_workflow_execution=[started("r1", new=False) if is_open else exists("r1")],
        describe_workflow_execution=[described("pay", WorkflowStatus.COMPLETED)],
        get_workflow_execution_history=[began(*there)],
    )
    starting = client(server).start(pay, *asked, id="id")
    if not told:
        assert (await starting).run_id == "r1"
        return
    with pytest.raises(WorkflowAlreadyStartedError) as raised:
        await starting
    text = str(raised.value)
    assert f"workflow id 'id' is taken by a run with other arguments: {told}" in text
    assert (raised.value.workflow_id, raised.value.run_id, raised.value.workflow_type) == ("id", "r1", "pay")
    assert len(text) < 400


async def test_a_chain_of_runs_is_what_its_first_one_was_asked_for() -> None:
    pages = [began(900, first="r0"), began(42)]
    server = Server(start_workflow_execution=[started("r9", new=False)] * 2, get_workflow_execution_history=pages * 2)
    assert (await client(server).start(pay, 42, id="id")).run_id == "r9"
    assert [request.execution.run_id for request in server.requests[1:]] == ["r9", "r0"]
    with pytest.raises(WorkflowAlreadyStartedError, match="amount is 42 there and 900 here"):
        await client(server).start(pay, 900, id="id")


async def test_a_chain_whose_first_run_was_deleted_is_not_held_against_anybody() -> None:
    gone = Rejected(StatusCode.NOT_FOUND, "no such run")
    server = Server(
        start_workflow_execution=[started("r9", new=False)],
        get_workflow_execution_history=[began(900, first="r0"), gone],
    )
    assert (await client(server).start(pay, 42, id="id")).run_id == "r9"


async def test_who_says_use_existing_attaches_whatever_the_arguments_are() -> None:
    server = Server(
        start_workflow_execution=[started("r1", new=False)] * 2,
        get_workflow_execution_history=[began(41), began(41, workflow_type="refund")],
    )
    assert (await client(server).start(pay, 42, id="id", id_conflict_policy="use_existing")).run_id == "r1"
    with pytest.raises(WorkflowAlreadyStartedError, match="of type 'refund'"):
        await client(server).start(pay, 42, id="id", id_conflict_policy="use_existing")


class Nonces(PayloadCodec):
    """Writes the same differently each time, as encryption does."""

    def __init__(self) -> None:
        self._count = 0

    def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        self._count += 1
        metadata = {"encoding": b"nonce", "nonce": str(self._count).encode()}
        return [Payload(metadata=metadata, data=payload.SerializeToString()) for payload in payloads]

    def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(payload.data) for payload in payloads]


async def test_a_codec_that_never_writes_the_same_twice_hides_no_request_and_no_secret() -> None:
    converter = Converter(Nonces())
    there = began()
    attributes = there.history.events[0].workflow_execution_started_event_attributes
    attributes.input.payloads.extend(converter.to_payloads((42, "EUR")))
    server = Server(start_workflow_execution=[started("r1", new=False)] * 2, get_workflow_execution_history=[there] * 2)
    assert (await client(server, converter=converter).start(pay, 42, id="id")).run_id == "r1"
    with pytest.raises(WorkflowAlreadyStartedError, match="currency is something else there and something else here"):
        await client(server, converter=converter).start(pay, 42, "USD", id="id")


async def test_arguments_that_another_sdk_wrote_with_spaces_are_the_same() -> None:
    there = began(workflow_type="shows")
    attributes = there.history.events[0].workflow_execution_started_event_attributes
    attributes.input.payloads.add(metadata={"encoding": b"json/plain"}, data=b' { "amount" : 4.0 }')
    server = Server(start_workflow_execution=[started("r1", new=False)], get_workflow_execution_history=[there])
    assert (await client(server).start(shows, Receipt(4), id="id")).run_id == "r1"


@workflow(name="shows")
def shows(receipt: Receipt) -> None: ...


@pytest.mark.parametrize(
    ("status", "given"),
    [
        (WorkflowStatus.RUNNING, {"id_conflict_policy": "FAIL"}),
        (WorkflowStatus.COMPLETED, {"id_reuse_policy": "REJECT_DUPLICATE"}),
    ],
)
async def test_who_forbids_a_second_run_is_told_of_the_first(status: WorkflowStatus, given: Any) -> None:
    server = Server(start_workflow_execution=[exists()], describe_workflow_execution=[described("pay", status)])
    with pytest.raises(WorkflowAlreadyStartedError) as raised:
        await client(server).start(pay, 42, id="id", **given)
    assert (raised.value.workflow_id, raised.value.run_id) == ("id", "r1")


async def test_arguments_are_checked_before_anything_is_sent() -> None:
    server = Server()
    with pytest.raises(TypeError, match="amount"):
        await client(server).start(pay)  # pyright: ignore - that is the point
    with pytest.raises(TypeError, match="too many"):
        await client(server).start(pay, 1, "EUR", 3)  # pyright: ignore - that is the point
    with pytest.raises(PayloadTooLargeError, match="the arguments of workflow pay: "):
        await client(server).start(pay, 1, "x" * 3_000_000)
    with pytest.raises(DefinitionError, match="decorate the function with @workflow"):
        await client(server).start(print)  # pyright: ignore - that is the point
    with pytest.raises(ValueError, match="id_reuse_policy must be one of 'allow_duplicate', "):
        await client(server).start(pay, 1, id_reuse_policy="NEVER")
    with pytest.raises(ValueError, match="id must not be empty"):
        await client(server).start(pay, 1, id="")
    with pytest.raises(ValueError, match="run_timeout"):
        await client(server).start(pay, 1, run_timeout=0)


def test_a_server_that_is_away_is_asked_again_with_the_same_request_id() -> None:
    away = Rejected(StatusCode.UNAVAILABLE, "away")
    server = Server(start_workflow_execution=[away, away, started()])

    async def main(loop: VirtualTimeLoop) -> str | None:
        return (await client(server).start(pay, 1)).run_id

    assert run_virtual(main) == "r1"
    assert len({r.request_id for r in server.requests}) == 1


def test_a_server_that_stays_away_is_an_error_in_the_end() -> None:
    server = Server(start_workflow_execution=[Rejected(StatusCode.UNAVAILABLE, "away")] * 100)

    async def main(loop: VirtualTimeLoop) -> None:
        await client(server, retry_s=3).start(pay, 1)

    with pytest.raises(EngineError, match=r"starting workflow .* was refused \(UNAVAILABLE\): away"):
        run_virtual(main)


async def test_a_wait_that_ends_without_an_event_is_waited_again() -> None:
    server = Server(get_workflow_execution_history=[page(token=b"more"), page(completed({"amount": 1}))])
    assert await client(server).get("id", result_type=Receipt).result() == Receipt(1)
    assert server.requests[1].next_page_token == b"more"
    assert server.requests[0].wait_new_event


async def test_the_result_is_that_of_the_last_run_of_the_chain() -> None:
    event, attributes = closing("CONTINUED_AS_NEW")
    attributes.new_execution_run_id = "r2"
    server = Server(get_workflow_execution_history=[page(event), page(completed("end"))])
    assert await client(server).get("id", "r1").result() == "end"
    assert [r.execution.run_id for r in server.requests] == ["r1", "r2"]


def failed_event() -> HistoryEvent:
    event, attributes = closing("FAILED")
    attributes.failure.CopyFrom(failure_of(ApplicationError("declined", type="Declined"), CONVERTER))
    return event


def terminated_event() -> HistoryEvent:
    event, attributes = closing("TERMINATED")
    attributes.reason = "operator"
    return event


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        (failed_event(), ApplicationError, "workflow 'id' failed: Declined: declined"),
        (closing("CANCELED")[0], CancelledError, "workflow 'id' was cancelled"),
        (terminated_event(), TerminatedError, "workflow 'id' was terminated: operator"),
        (closing("TIMED_OUT")[0], TimedOutError, "workflow 'id' timed out"),
    ],
)
async def test_a_run_without_a_result_says_why(event: HistoryEvent, kind: type, text: str) -> None:
    server = Server(get_workflow_execution_history=[page(event)])
    with pytest.raises(WorkflowFailedError) as raised:
        await client(server).get("id").result()
    assert str(raised.value).startswith(text)
    assert isinstance(raised.value.cause, kind)
    assert raised.value.workflow_id == "id"


async def test_a_workflow_without_a_return_value_gives_none() -> None:
    server = Server(get_workflow_execution_history=[page(closing("COMPLETED")[0])])
    assert await client(server).get("id").result() is None


def test_waiting_may_have_an_end() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        async def for_ever(request: Any) -> Any:
            await loop.create_future()

        server = Server()
        server.__dict__["get_workflow_execution_history"] = for_ever
        await client(server).get("id").result(timeout="5s")

    with pytest.raises(TimeoutError, match="'id' has not closed within 5s; it goes on"):
        run_virtual(main)


async def test_a_description_tells_of_pending_work_and_of_trouble() -> None:
    response = described("pay", WorkflowStatus.RUNNING)
    response.workflow_execution_info.start_time.FromNanoseconds(5000)
    pending = response.pending_activities.add(activity_id="3", attempt=2, maximum_attempts=5)
    pending.activity_type.name = "charge"
    pending.state = cast(Any, 1)
    pending.last_failure.message = "gateway down"
    pending.next_attempt_schedule_time.FromNanoseconds(9000)
    response.pending_workflow_task.attempt = 4
    trouble = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    trouble.workflow_task_failed_event_attributes.failure.message = "KeyError: 'sku'"
    server = Server(
        describe_workflow_execution=[response],
        get_workflow_execution_history_reverse=[newest(token=b"2"), newest(trouble)],
        describe_task_queue=[service.DescribeTaskQueueResponse(), Rejected(StatusCode.UNIMPLEMENTED, "not here")],
    )
    description = await client(server).get("id").describe()
    assert (description.id, description.run_id, description.workflow_type) == ("id", "r1", "pay")
    assert (description.status, description.started_at, description.closed_at) == (
        WorkflowStatus.RUNNING,
        moment_of(5000),
        None,
    )
    assert (description.workflow_task_attempt, description.workflow_task_failure) == (4, "KeyError: 'sku'")
    activity = description.pending_activities[0]
    assert (activity.activity_type, activity.state, activity.attempt) == ("charge", "scheduled", 2)
    assert (activity.last_failure, activity.next_attempt_at, activity.last_heartbeat_at) == (
        "gateway down",
        moment_of(9000),
        None,
    )


async def test_history_comes_whole() -> None:
    one, two = HistoryEvent(event_id=1), HistoryEvent(event_id=2)
    server = Server(get_workflow_execution_history=[page(one, token=b"t"), page(two)])
    assert await client(server).get("id").history() == [one, two]
    assert not server.requests[0].wait_new_event


async def test_cancel_and_terminate_name_run_reason_and_person() -> None:
    server = Server(
        request_cancel_workflow_execution=[service.RequestCancelWorkflowExecutionResponse()],
        terminate_workflow_execution=[service.TerminateWorkflowExecutionResponse()],
    )
    await client(server).get("id", "r").cancel("changed my mind")
    await client(server).get("id").terminate("stuck")
    cancel, terminate = server.requests
    assert (cancel.workflow_execution.run_id, cancel.reason, cancel.identity) == ("r", "changed my mind", "me")
    assert cancel.request_id
    assert (terminate.workflow_execution.workflow_id, terminate.reason) == ("id", "stuck")


async def test_what_is_not_there_is_said_to_be_not_there() -> None:
    server = Server(describe_workflow_execution=[Rejected(StatusCode.NOT_FOUND, "no rows")])
    with pytest.raises(WorkflowNotFoundError, match="a description of workflow 'nope': no rows"):
        await client(server).get("nope").describe()


async def test_lists_are_read_page_by_page_up_to_the_limit() -> None:
    pages = []
    for number in range(3):
        response = service.ListWorkflowExecutionsResponse(next_page_token=b"more")
        response.executions.add().execution.workflow_id = str(number)
        pages.append(response)
    server = Server(list_workflow_executions=pages)
    found = await client(server).list('WorkflowType = "pay"', limit=2)
    assert [summary.id for summary in found] == ["0", "1"]
    assert [(r.query, r.page_size) for r in server.requests] == [
        ('WorkflowType = "pay"', 2),
        ('WorkflowType = "pay"', 1),
    ]


async def test_counts_by_status_have_our_names() -> None:
    response = service.CountWorkflowExecutionsResponse(count=5)
    for name, count in (("Running", 3), ("TimedOut", 2)):
        response.groups.add(group_values=[Payload(data=f'"{name}"'.encode())], count=count)
    server = Server(count_workflow_executions=[response, response])
    assert await client(server).count_by_status() == {WorkflowStatus.RUNNING: 3, WorkflowStatus.TIMED_OUT: 2}
    assert await client(server).count() == 5
