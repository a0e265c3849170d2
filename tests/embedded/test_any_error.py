"""Whatever is raised, and wherever: the task is answered with it, at once, and nobody waits for a time-out.

Everything here has time-outs of minutes and a test has five: an error that is not told fails its test.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload

from perdure import (
    ActivityError,
    ApplicationError,
    CancelledError,
    Engine,
    QueryFailedError,
    Retry,
    Transaction,
    UpdateFailedError,
    WorkerConfig,
    WorkflowFailedError,
    WorkflowStatus,
    activity,
    call,
    call_local,
    start,
    start_child,
    workflow,
)
from perdure.embedded import EngineSeams, WorkflowHandle, seamed
from tests.eventually import eventually
from tests.sdk.convert.strange import Closed, Endless, Liar, Nameless, NoText, RaisingText

ONCE = Retry(maximum_attempts=1)


def spoiled() -> ApplicationError:
    error = ApplicationError("as it should be", type="Spoiled")
    error.__dict__.update(message=5, type=ValueError, non_retryable="no", next_retry_delay_ns="soon")
    return error


ERRORS: dict[str, tuple[Callable[[], BaseException], str, str]] = {
    "surrogate": (lambda: ValueError("cannot read caf\udce9.csv"), "ValueError", "cannot read caf\ufffd.csv"),
    "raising text": (lambda: RaisingText(OSError("x")), "RaisingText", "its text could not be made: OSError"),
    "raising exit": (lambda: RaisingText(SystemExit(3)), "RaisingText", "its text could not be made: SystemExit"),
    "no text": (NoText, "NoText", "its text could not be made: TypeError"),
    "endless": (lambda: Endless("x"), "Endless", "its text could not be made: RecursionError"),
    "nameless": (lambda: Nameless("x"), "Nameless", "x"),
    "spoiled": (spoiled, "<class 'ValueError'>", "5"),
    "details": (lambda: ApplicationError("real reason", details=[threading.Lock()]), "ApplicationError", "real reason"),
    "group": (
        lambda: ExceptionGroup("two", [ApplicationError("db-7", type="Down"), OSError()]),
        "ExceptionGroup",
        "two (2 sub-exceptions): [Down: db-7; OSError: ]",
    ),
    "exit": (lambda: SystemExit(3), "SystemExit", "3"),
    "interrupt": (lambda: KeyboardInterrupt("x"), "KeyboardInterrupt", "x"),
    "liar": (lambda: Liar("x"), "Liar", "x"),
    "closed": (lambda: Closed("x"), "Closed", "x"),
}
KINDS = list(ERRORS)
ASK_NOT = ("liar", "closed")
"""To ask whether they end a run raises: that is a bug, and what is told."""
END_RUNS = ("spoiled", "details")


def made(kind: str) -> BaseException:
    return ERRORS[kind][0]()


@activity(retry=ONCE)
def on_a_thread(kind: str) -> None:
    raise made(kind)


@activity(retry=ONCE)
async def on_the_loop(kind: str) -> None:
    raise made(kind)


@activity(retry=ONCE, run_in="process")
def in_a_process(kind: str) -> None:
    raise made(kind)


@activity(retry=ONCE, transactional=True)
def in_a_transaction(transaction: Transaction, kind: str) -> None:
    raise made(kind)


ACTIVITIES: dict[str, Any] = {
    "thread": on_a_thread,
    "loop": on_the_loop,
    "process": in_a_process,
    "transaction": in_a_transaction,
}


@workflow
def calls(where: str, kind: str) -> list[str]:
    try:
        (call_local if where == "local" else call)(ACTIVITIES.get(where, on_a_thread), kind)
    except ActivityError as error:
        return told(error)
    return []


def told(error: ActivityError) -> list[str]:
    cause = error.__cause__
    return [cause.type, cause.message] if isinstance(cause, ApplicationError) else [repr(cause)]


@workflow(fail_on=(BaseException,))
def fails(kind: str) -> None:
    raise made(kind)


@workflow
def has_a_bug(kind: str) -> None:
    raise made(kind)


@workflow
class Asked:
    @workflow.run
    def run(self) -> str:
        return workflow.wait_signal("go", returns=str)

    @workflow.query
    def question(self, kind: str) -> None:
        raise made(kind)

    @workflow.update
    def change(self, kind: str) -> None:
        raise ApplicationError("changed nothing") from made(kind)

    @workflow.update
    def checked(self, kind: str) -> None:
        pass

    @checked.validator
    def _check(self, kind: str) -> None:
        raise made(kind)

    @workflow.signal
    def poke(self, kind: str) -> None:
        raise made(kind)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file: Path = tmp_path_factory.mktemp("any_error") / "engine.db"
    config = WorkerConfig(max_heartbeat_throttle_interval=0.01, processes=1)
    with seamed(Engine, EngineSeams(worker_config=config), f"sqlite:///{file}", shutdown_grace="100ms") as engine:
        yield engine


def trouble_of(handle: WorkflowHandle[Any]) -> str:
    return eventually(lambda: handle.describe().workflow_task_failure, "a failed workflow task")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", [*ACTIVITIES, "local"])
def test_an_activity_that_raises_anything_has_failed_with_it(engine: Engine, where: str, kind: str) -> None:
    found = engine.run(calls, where, kind, id=f"{where} {kind}")
    assert found[0] == ERRORS[kind][1]
    assert ERRORS[kind][2] in found[1]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ASK_NOT])
def test_a_workflow_that_fails_with_anything_has_failed_with_it(engine: Engine, kind: str) -> None:
    with pytest.raises(WorkflowFailedError) as caught:
        engine.run(fails, kind, id=f"fails {kind}")
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == ERRORS[kind][1]
    assert ERRORS[kind][2] in cause.message


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in END_RUNS])
def test_a_bug_is_described_with_its_type_its_text_and_its_line(engine: Engine, kind: str) -> None:
    handle = engine.start(has_a_bug, kind, id=f"bug {kind}")
    told = trouble_of(handle)
    handle.terminate()
    assert "(at " in told
    if kind not in ASK_NOT:
        assert ERRORS[kind][1] in told
        assert ERRORS[kind][2] in told
        assert "(at test_any_error.py:" in told


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_that_raises_anything_is_answered(engine: Engine, kind: str) -> None:
    handle = engine.start(Asked, id=f"query {kind}")
    with pytest.raises(QueryFailedError) as caught:
        handle.query(Asked.question, kind)
    assert ERRORS[kind][2] in str(caught.value)
    handle.signal("go", "on")
    assert handle.result() == "on"


@pytest.mark.parametrize("kind", KINDS)
def test_a_validator_that_raises_anything_rejects(engine: Engine, kind: str) -> None:
    handle = engine.start(Asked, id=f"validator {kind}")
    with pytest.raises(UpdateFailedError) as caught:
        handle.update(Asked.checked, kind)
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == ERRORS[kind][1]
    handle.signal("go", "on")
    assert handle.result() == "on"


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_that_fails_because_of_anything_is_answered(engine: Engine, kind: str) -> None:
    handle = engine.start(Asked, id=f"update {kind}")
    with pytest.raises(UpdateFailedError) as caught:
        handle.update(Asked.change, kind)
    cause = caught.value.cause
    assert cause is not None
    assert isinstance(cause.__cause__, ApplicationError)
    assert cause.__cause__.type == ERRORS[kind][1]
    handle.signal("go", "on")
    assert handle.result() == "on"


@pytest.mark.parametrize("kind", ["surrogate", "raising text", "group", "exit"])
def test_a_signal_handler_that_raises_anything_is_described(engine: Engine, kind: str) -> None:
    handle = engine.start(Asked, id=f"signal {kind}")
    handle.signal(Asked.poke, kind)
    told = trouble_of(handle)
    handle.terminate()
    assert ERRORS[kind][1] in told


def test_a_group_of_failures_fails_an_update_as_it_fails_a_run(engine: Engine) -> None:
    @workflow
    class Grouped:
        @workflow.run
        async def run(self) -> str:
            return await workflow.wait_signal("go", returns=str)

        @workflow.update
        async def change(self) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.fail())

        async def fail(self) -> None:
            raise ApplicationError("db-7 is down", type="Down")

    handle = engine.start(Grouped, id="grouped update")
    with pytest.raises(UpdateFailedError, match=r"\[Down: db-7 is down\]"):
        handle.update(Grouped.change)
    handle.signal("go", "on")
    assert handle.result() == "on"


TRIES: list[str] = []


@activity(retry=Retry(initial_interval="1ms"))
async def grouped() -> None:
    TRIES.append("x")

    async def bad() -> None:
        raise ApplicationError("host db-7 is down", type="Down", non_retryable=True)

    async with asyncio.TaskGroup() as group:
        group.create_task(bad())


@workflow
def calls_grouped() -> None:
    call(grouped)


def test_a_group_of_what_is_not_to_be_retried_is_not_retried(engine: Engine) -> None:
    with pytest.raises(WorkflowFailedError, match=r"ExceptionGroup: .*\[Down: host db-7 is down\]"):
        engine.run(calls_grouped, id="grouped")
    assert TRIES == ["x"]
    assert "db-7" in "".join(map(str, engine.get("grouped").history()))


# --- cancellations ------------------------------------------------------------------------------


def stopped(details: Sequence[Any]) -> CancelledError:
    return CancelledError("stopped", details=details)


def until_cancelled() -> None:
    for _ in range(10_000):  # the answer to a heartbeat says it
        activity.heartbeat()
        if activity.wait_for_cancelled_sync("20ms"):
            return


async def until_interrupted() -> None:
    try:
        for _ in range(10_000):
            activity.heartbeat()
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return


@activity(heartbeat_timeout="60s", retry=ONCE)
def stops_with_a_lock() -> None:
    until_cancelled()
    raise stopped([threading.Lock()])


@activity(heartbeat_timeout="60s", retry=ONCE)
async def stops_on_the_loop() -> None:
    await until_interrupted()
    raise stopped(["caf\udce9"])


@activity(heartbeat_timeout="60s", retry=ONCE)
async def stops_in_a_group() -> None:
    async def child() -> None:
        raise stopped(["so far"])

    await until_interrupted()
    async with asyncio.TaskGroup() as group:
        group.create_task(child())


@activity(heartbeat_timeout="60s", retry=ONCE, run_in="process")
def stops_in_a_process() -> None:
    until_cancelled()
    raise ExceptionGroup("all of it", [stopped([object()]), stopped([])])


STOPPING: dict[str, Any] = {
    "thread": stops_with_a_lock,
    "loop": stops_on_the_loop,
    "group": stops_in_a_group,
    "process": stops_in_a_process,
}


@workflow
def runs_until_cancelled(where: str) -> str:
    handle = start(STOPPING[where].options(cancellation="wait"))
    handle.result()
    return "never cancelled"


@pytest.mark.parametrize("where", STOPPING)
def test_a_cancellation_whose_details_cannot_be_written_is_a_cancellation(engine: Engine, where: str) -> None:
    handle = engine.start(runs_until_cancelled, where, id=f"stops {where}")
    eventually(lambda: any(a.state == "started" for a in handle.describe().pending_activities), "a started activity")
    handle.cancel()
    with pytest.raises(WorkflowFailedError, match="was cancelled"):
        handle.result()
    assert handle.describe().status is WorkflowStatus.CANCELED


# --- what cannot be written ------------------------------------------------------------------------


@workflow
def cannot_write(what: str) -> str:
    try:
        match what:
            case "side effect":
                workflow.side_effect(threading.Lock)
            case "memo":
                workflow.upsert_memo({"lock": threading.Lock()})
            case "argument":
                call(on_a_thread, threading.Lock())  # pyright: ignore[reportCallIssue, reportArgumentType]
            case "local argument":
                call_local(on_a_thread, threading.Lock())  # pyright: ignore[reportArgumentType]
            case "child":
                start_child(fails, threading.Lock())  # pyright: ignore
            case "signal":
                workflow.external("other").signal("go", threading.Lock())
            case _:
                workflow.continue_as_new(threading.Lock())
    except Exception:  # the task fails all the same: in replay nothing is written, and nothing raised
        return "went another way"
    return "went through"


@pytest.mark.parametrize(
    "what", ["side effect", "memo", "argument", "local argument", "child", "signal", "continue as new"]
)
def test_what_cannot_be_written_fails_the_task_with_the_line_that_gave_it(engine: Engine, what: str) -> None:
    handle = engine.start(cannot_write, what, id=f"cannot write {what}")
    told = trouble_of(handle)
    handle.terminate()
    assert told.startswith("PayloadError: ")
    assert "is of type _thread.lock" in told
    assert "(at test_any_error.py:" in told
    assert "in cannot_write" in told


class Unmovable:
    """A codec that cannot be taken to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def encode(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        return payloads

    decode = encode


def test_a_process_that_cannot_be_started_is_the_failure_of_its_attempt() -> None:
    with Engine("memory://", codec=Unmovable(), shutdown_grace="100ms") as engine:
        kind, message = engine.run(calls, "process", "no text", id="unmovable")
    assert kind == "ProcessDied"
    assert message == "no process could be started for an activity: TypeError: cannot pickle '_thread.lock' object"


def test_what_is_no_error_cannot_be_told_as_one(engine: Engine) -> None:
    with pytest.raises(TypeError, match="error must be an exception, not str"):
        engine.activities.fail("no reason", workflow_id="w", activity_id="1")  # pyright: ignore[reportArgumentType]


# --- heartbeats, and codecs that are down ----------------------------------------------------------


@activity(retry=ONCE)
def reports(kind: str) -> None:
    activity.heartbeat(threading.Lock() if kind == "lock" else "caf\udce9")


@activity(retry=ONCE, run_in="process")
def reports_from_a_process(kind: str) -> None:
    activity.heartbeat(threading.Lock() if kind == "lock" else "caf\udce9")


@workflow
def heartbeats(where: str, kind: str) -> str:
    try:
        call(reports_from_a_process if where == "process" else reports, kind)
    except ActivityError as error:
        return str(error.__cause__)
    return "reported"


@pytest.mark.parametrize("where", ["thread", "process"])
@pytest.mark.parametrize("kind", ["lock", "surrogate"])
def test_a_heartbeat_that_cannot_be_written_fails_the_attempt(engine: Engine, where: str, kind: str) -> None:
    told = engine.run(heartbeats, where, kind, id=f"heartbeats {where} {kind}")
    assert told.startswith("PayloadError: heartbeat details of activity reports")


class KeyService:
    """A codec that is down for what says so, as often as it is told."""

    def __init__(self) -> None:
        self.failures = 0

    def encode(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        return self._asked(payloads, b"secret")

    def decode(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        return self._asked(payloads, b"sealed")

    def _asked(self, payloads: Sequence[Payload], word: bytes) -> Sequence[Payload]:
        if self.failures and any(word in payload.data for payload in payloads):
            self.failures -= 1
            raise ConnectionError("the key service is down")
        return payloads


@activity(retry=Retry(initial_interval="1ms"))
def keeps_a_secret() -> str:
    return "secret"


@activity(retry=ONCE)
def fails_with_a_secret() -> None:
    raise ApplicationError("declined", type="Declined", non_retryable=True, details=["secret"])


@activity
def seals() -> str:
    return "sealed"


@workflow
def secret(which: str) -> Any:
    if which == "result":
        return call(keeps_a_secret)
    if which == "details":
        return calls_details()
    try:
        return call(seals)
    except Exception as error:
        return f"went another way: {error}"


def calls_details() -> list[str]:
    try:
        call(fails_with_a_secret)
    except ActivityError as error:
        return told(error)
    return []


@pytest.mark.parametrize("times", [1, 3])
def test_work_goes_on_when_the_codec_is_up_again(times: int) -> None:
    codec = KeyService()
    with Engine("memory://", codec=codec, shutdown_grace="100ms") as engine:
        codec.failures = times
        assert engine.run(secret, "result", id="result") == "secret"


def test_an_error_is_told_without_its_details_while_the_codec_is_down() -> None:
    codec = KeyService()
    with Engine("memory://", codec=codec, shutdown_grace="100ms") as engine:
        codec.failures = 1
        kind, message = engine.run(secret, "details", id="details")
    assert kind == "Declined"
    assert message.startswith("declined (details left out: ")


def test_a_result_that_cannot_be_read_for_now_makes_the_code_wait_and_not_go_another_way() -> None:
    codec = KeyService()
    with Engine("memory://", codec=codec, shutdown_grace="100ms") as engine:
        codec.failures = 1
        handle = engine.start(secret, "read", id="read")
        assert handle.result() == "sealed"
        tasks = [str(event) for event in handle.history() if "workflow_task_failed" in str(event)]
        assert len(tasks) == 1
        assert "the key service is down" in tasks[0]
