"""Logging libraries in workflow code: each line is said once, from the user's line, and not again in replay."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import loguru
import pytest
import sentry_sdk
import structlog
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.workflow.workflow import call, start
from tests.sdk.replay.given import History
from tests.sdk.replay.pieces import a, version_of


class Kept(Transport):
    """A sentry transport that sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.events.append(envelope.get_event())


@pytest.fixture
def sentry() -> Iterator[Kept]:
    transport = Kept()
    client = sentry_sdk.Client(
        "https://key@sentry.invalid/1",
        transport=transport,
        auto_session_tracking=False,
        default_integrations=False,
        integrations=[LoggingIntegration()],
    )
    sentry_sdk.get_global_scope().set_client(client)
    yield transport
    sentry_sdk.get_global_scope().set_client(None)
    client.close(timeout=0)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What loguru and structlog have said."""
    said: list[str] = []
    loguru.logger.remove()
    sink = loguru.logger.add(lambda message: said.append(str(message)), format="{time} {name}:{line} {message}")

    def keep(_logger: Any, _method: str, event: Any) -> str:
        said.append(f"{event['timestamp']} {event['module']}:{event['lineno']} {event['event']}")
        raise structlog.DropEvent

    where = {structlog.processors.CallsiteParameter.MODULE, structlog.processors.CallsiteParameter.LINENO}
    stamp = structlog.processors.TimeStamper(fmt="iso")
    structlog.configure(processors=[stamp, structlog.processors.CallsiteParameterAdder(where), keep])
    yield said
    loguru.logger.remove(sink)
    structlog.reset_defaults()


def played(code: AnyWorkflow) -> None:
    """One machine stays in memory; a new one replays the history at each task."""
    history = History(code).task()
    machine = history.machine()
    outcome = machine.process(history.since())
    assert outcome.error is None, outcome.error
    seen = history.last
    history.apply(outcome.commands).completed("1", "value").task()
    outcome = machine.process(history.since(seen))
    assert outcome.error is None, outcome.error
    assert outcome.finished
    history.apply(outcome.commands)
    assert history.cold().finished


def lines_of(function: Callable[..., Any], word: str) -> list[int]:
    source, first = inspect.getsourcelines(function)
    return [first + number for number, line in enumerate(source) if word in line]


def with_loguru() -> None:
    loguru.logger.bind(order=1).info("before")
    call(a)
    loguru.logger.info("behind")


async def with_loguru_async() -> None:
    loguru.logger.info("before")
    await start(a)
    loguru.logger.opt(lazy=True).info("behind")


def with_structlog() -> None:
    log = structlog.get_logger().bind(order=1)
    log.info("before")
    call(a)
    log.info("behind")


async def with_structlog_async() -> None:
    log = structlog.get_logger()
    log.info("before")
    await start(a)
    await log.ainfo("behind")


@pytest.mark.parametrize("code", [with_loguru, with_loguru_async, with_structlog, with_structlog_async])
def test_a_line_is_said_once_from_where_the_user_wrote_it(code: Callable[..., Any], lines: list[str]) -> None:
    played(version_of("talks")(code))
    words = [line.split()[-1] for line in lines]
    assert words == ["before", "behind"]
    at = [int(line.split()[1].rpartition(":")[2]) for line in lines]
    assert at == [*lines_of(code, '"before"'), *lines_of(code, '"behind"')]
    assert all("test_talkers" in line for line in lines)


def test_a_coroutine_that_is_a_sink_does_not_become_a_task_of_the_workflow(lines: list[str]) -> None:
    async def sink(message: str) -> None:
        lines.append(message)

    hashes: list[list[int]] = []

    @version_of("talks")
    async def code() -> None:
        loguru.logger.info("before")
        hashes.append([hash(asyncio.create_task(asyncio.sleep(0))) for _ in range(3)])
        await start(a)

    added = loguru.logger.add(sink)
    try:
        played(code)
    finally:
        loguru.logger.remove(added)
    assert hashes[0] == hashes[1], "live and in replay"


def test_what_sentry_is_told_is_told_once(sentry: Kept) -> None:
    @version_of("talks")
    def code() -> None:
        sentry_sdk.add_breadcrumb(message="before", category="order")
        call(a)
        sentry_sdk.add_breadcrumb(message="behind", category="order")
        sentry_sdk.set_tag("order", "1")
        sentry_sdk.capture_message("something odd")

    played(code)
    [event] = sentry.events
    assert event["message"] == "something odd"
    crumbs = [crumb["message"] for crumb in event["breadcrumbs"]["values"] if crumb["category"] == "order"]
    assert crumbs == ["before", "behind"]


def test_sentrys_breadcrumbs_of_log_lines_are_left_once(sentry: Kept) -> None:
    logger = logging.getLogger("talkers-test")

    @version_of("talks")
    def code() -> None:
        logger.warning("before")
        call(a)
        logger.warning("behind")
        sentry_sdk.capture_message("something odd")

    played(code)
    [event] = sentry.events
    crumbs = [crumb["message"] for crumb in event["breadcrumbs"]["values"] if crumb["category"] == "talkers-test"]
    assert crumbs == ["before", "behind"]


def test_the_libraries_are_themselves_outside_of_workflows(lines: list[str], sentry: Kept) -> None:
    loguru.logger.info("loguru")
    structlog.get_logger().info("structlog")
    sentry_sdk.capture_message("sentry")
    assert [line.split()[-1] for line in lines] == ["loguru", "structlog"]
    assert [event["message"] for event in sentry.events] == ["sentry"]


def test_printing_by_structlog_as_it_comes_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    @version_of("talks")
    def code() -> None:
        structlog.get_logger().info("before")
        call(a)

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    try:
        played(code)
    finally:
        structlog.reset_defaults()


COLD = """
from perdure import Engine, workflow

@workflow
def talks() -> str:
    import loguru, structlog, sentry_sdk
    loguru.logger.info("once by loguru")
    structlog.get_logger().info("once by structlog")
    sentry_sdk.add_breadcrumb(message="to nobody")
    return "said"

with Engine("memory://") as engine:
    print(engine.run(talks, id="talks"))
"""


def test_loaded_by_the_workflow_itself_they_work_as_they_come() -> None:
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "said"
    assert (done.stdout + done.stderr).count("once by loguru") == 1
    assert (done.stdout + done.stderr).count("once by structlog") == 1
