"""What replay could not repeat fails the workflow task, names the line and says what to use instead."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import gc
import io
import logging
import os
import pathlib
import random
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import uuid
import warnings
import weakref
from collections.abc import Callable
from datetime import date
from datetime import datetime as DateTime  # noqa: N812 - as users write it
from os import getenv, urandom
from random import choice, randint, shuffle
from random import random as roll
from time import monotonic, sleep
from time import time as clock
from typing import Any
from uuid import uuid1, uuid4

import pytest

from perdure.sdk.activity import activity
from perdure.sdk.errors import DeterminismViolation
from perdure.sdk.workflow.workflow import call, workflow
from tests.sdk.replay.given import History, texts

FORBIDDEN: dict[str, tuple[Callable[[], Any], str]] = {
    "random.random": (lambda: random.random(), "workflow.random()"),
    "random.randint": (lambda: random.randint(1, 6), "workflow.random()"),
    "random.choice": (lambda: random.choice("abc"), "workflow.random()"),
    "random.uniform": (lambda: random.uniform(0, 1), "workflow.random()"),
    "random.gauss": (lambda: random.gauss(0, 1), "workflow.random()"),
    "random.seed": (lambda: random.seed(1), "workflow.random()"),
    "random by name": (lambda: roll(), "workflow.random()"),
    "randint by name": (lambda: randint(1, 6), "workflow.random()"),
    "choice by name": (lambda: choice("abc"), "workflow.random()"),
    "shuffle by name": (lambda: shuffle([1, 2, 3]), "workflow.random()"),
    "unseeded Random": (lambda: random.Random(), "workflow.random()"),
    "SystemRandom": (lambda: random.SystemRandom().random(), "workflow.random()"),
    "secrets.token_hex": (lambda: secrets.token_hex(), "workflow.random()"),
    "secrets.randbelow": (lambda: secrets.randbelow(7), "workflow.random()"),
    "secrets.choice": (lambda: secrets.choice("abc"), "workflow.random()"),
    "os.urandom": (lambda: os.urandom(8), "workflow.random()"),
    "urandom by name": (lambda: urandom(8), "workflow.random()"),
    "time.time": (lambda: time.time(), "workflow.time()"),
    "time.time_ns": (lambda: time.time_ns(), "workflow.time_ns()"),
    "time by name": (lambda: clock(), "workflow.time()"),
    "time.monotonic": (lambda: time.monotonic(), "workflow.time()"),
    "monotonic by name": (lambda: monotonic(), "workflow.time()"),
    "time.perf_counter": (lambda: time.perf_counter(), "workflow.time()"),
    "time.sleep": (lambda: time.sleep(0), "workflow.sleep"),  # never reached: it is refused
    "sleep by name": (lambda: sleep(0), "workflow.sleep"),
    "time.localtime": (lambda: time.localtime(), "workflow.now()"),
    "time.ctime": (lambda: time.ctime(), "workflow.now()"),
    "datetime.now": (lambda: datetime.datetime.now(), "workflow.now()"),
    "datetime.now(UTC)": (lambda: datetime.datetime.now(datetime.UTC), "workflow.now()"),
    "datetime.utcnow": (lambda: datetime.datetime.utcnow(), "workflow.now()"),
    "datetime.today": (lambda: datetime.datetime.today(), "workflow.now()"),
    "datetime by name": (lambda: DateTime.now(), "workflow.now()"),
    "date.today": (lambda: datetime.date.today(), "workflow.now()"),
    "date by name": (lambda: date.today(), "workflow.now()"),
    "uuid.uuid4": (lambda: uuid.uuid4(), "workflow.uuid4()"),
    "uuid.uuid1": (lambda: uuid.uuid1(), "workflow.uuid4()"),
    "uuid4 by name": (lambda: uuid4(), "workflow.uuid4()"),
    "uuid1 by name": (lambda: uuid1(), "workflow.uuid4()"),
    "open": (lambda: open("/etc/hostname"), "an activity"),  # noqa: SIM115
    "io.open": (lambda: io.open("/etc/hostname"), "an activity"),  # noqa: SIM115, UP020
    "os.open": (lambda: os.close(os.open("/etc/hostname", os.O_RDONLY)), "an activity"),
    "Path.read_text": (lambda: pathlib.Path("/etc/hostname").read_text(), "an activity"),
    "Path.exists": (lambda: pathlib.Path("/etc/hostname").exists(), "an activity"),
    "os.path.exists": (lambda: os.path.exists("/etc/hostname"), "an activity"),
    "os.listdir": (lambda: os.listdir("/"), "an activity"),
    "os.remove": (lambda: os.remove("/nowhere/at/all"), "an activity"),
    "tempfile": (lambda: tempfile.NamedTemporaryFile(), "an activity"),  # noqa: SIM115
    "socket": (lambda: socket.socket(), "an activity"),
    "socket.getaddrinfo": (lambda: socket.getaddrinfo("localhost", 1), "an activity"),
    "socket.create_connection": (lambda: socket.create_connection(("127.0.0.1", 1)), "an activity"),
    "urlopen": (lambda: urllib.request.urlopen("http://127.0.0.1:1"), "an activity"),
    "sqlite3.connect": (lambda: sqlite3.connect(":memory:"), "an activity"),
    "subprocess.run": (lambda: subprocess.run(["true"], check=False), "an activity"),
    "os.system": (lambda: os.system("true"), "an activity"),
    "Thread.start": (lambda: threading.Thread(target=print).start(), "start(...)"),
    "Timer.start": (lambda: threading.Timer(0, print).start(), "start(...)"),
    "pool.submit": (lambda: concurrent.futures.ThreadPoolExecutor(1).submit(print), "start(...)"),
    "Event.wait": (lambda: threading.Event().wait(0), "wait_condition(...)"),
    "os.environ[]": (lambda: os.environ["PATH"], "workflow.side_effect"),
    "os.environ.get": (lambda: os.environ.get("PATH"), "workflow.side_effect"),
    "os.environ in": (lambda: "PATH" in os.environ, "workflow.side_effect"),
    "os.environ iteration": (lambda: list(os.environ), "workflow.side_effect"),
    "os.getenv": (lambda: os.getenv("PATH"), "workflow.side_effect"),
    "getenv by name": (lambda: getenv("PATH"), "workflow.side_effect"),
    "os.environ[] =": (lambda: os.environ.__setitem__("X_GUARD", "1"), "an activity"),
}


def run(definition: Any) -> Any:
    return History(definition).task().cold()


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_def_workflow_is_told_what_to_use_instead(name: str) -> None:
    forbidden, instead = FORBIDDEN[name]

    @workflow
    def bad() -> None:
        forbidden()

    outcome = run(bad)
    assert isinstance(outcome.error, DeterminismViolation)
    assert outcome.commands == []
    assert instead in outcome.failure.message
    line = forbidden.__code__.co_firstlineno
    assert f"{__file__}:{line}" in outcome.failure.message


@pytest.mark.filterwarnings("ignore:.*utcnow:DeprecationWarning")
@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_same_is_fine_within_unguarded_and_outside(name: str) -> None:
    forbidden, _ = FORBIDDEN[name]
    if name in ("os.remove", "socket.create_connection", "urlopen"):
        with pytest.raises(OSError):
            forbidden()
    else:
        _release(forbidden())

    @workflow
    def sly() -> str:
        with workflow.unsafe.unguarded():
            try:
                _release(forbidden())
            except OSError:
                return "tried"
        return "done"

    outcome = run(sly)
    assert outcome.failure is None, outcome.failure
    assert outcome.finished


def _release(thing: Any) -> None:
    if isinstance(thing, concurrent.futures.Future):
        thing.result()
    elif hasattr(thing, "close"):
        thing.close()


def test_an_async_workflow_is_watched_too() -> None:
    @workflow
    async def bad() -> float:
        await asyncio.sleep(0)
        return time.time()

    outcome = run(bad)
    assert isinstance(outcome.error, DeterminismViolation)
    assert "workflow.time()" in outcome.failure.message


@pytest.mark.parametrize(
    "ask",
    [
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_connection("127.0.0.1", 1),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.get_running_loop().run_in_executor(None, print),
        lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1),
    ],
)
def test_asyncio_does_no_io_in_a_workflow(ask: Callable[[], Any]) -> None:
    @workflow
    async def bad() -> None:
        await ask()

    outcome = run(bad)
    assert isinstance(outcome.error, DeterminismViolation)
    assert "an activity" in outcome.failure.message
    assert __file__ in outcome.failure.message


def test_a_violation_that_is_swallowed_fails_the_task_all_the_same() -> None:
    @workflow
    def sly() -> str:
        try:
            return str(time.time())
        except Exception:
            return "caught"

    outcome = run(sly)
    assert isinstance(outcome.error, DeterminismViolation)
    assert outcome.commands == []


def helper() -> str:
    return inner_helper()


def inner_helper() -> str:
    return tempfile.mkdtemp()


def test_a_helper_is_watched_and_its_line_named_with_the_library_function_it_called() -> None:
    @workflow
    def indirect() -> str:
        return helper()

    outcome = run(indirect)
    assert isinstance(outcome.error, DeterminismViolation)
    assert "tempfile.mkdtemp()" in outcome.failure.message
    assert f"{__file__}:{inner_helper.__code__.co_firstlineno + 1} in inner_helper" in outcome.failure.message


def test_printing_logging_warnings_and_tracebacks_are_fine(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: pathlib.Path
) -> None:
    handler = logging.FileHandler(tmp_path / "log.txt", delay=True)
    logger = logging.getLogger("guard-test")
    logger.addHandler(handler)

    @workflow
    def talkative() -> str:
        print("hello")  # noqa: T201 - printing is what is tested
        logger.warning("user's own logger")
        workflow.logger.warning("the workflow's logger")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("careful", stacklevel=1)
        try:
            raise ValueError("x")
        except ValueError:
            return traceback.format_exc()

    outcome = run(talkative)
    handler.close()
    logger.removeHandler(handler)
    assert outcome.failure is None, outcome.failure
    assert capsys.readouterr().out == "hello\n"
    assert "user's own logger" in caplog.text
    assert "the workflow's logger" in caplog.text
    assert "user's own logger" in (tmp_path / "log.txt").read_text()


def test_a_module_imported_lazily_may_do_what_it_likes_while_it_loads(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lazily_imported_one.py").write_text(
        "import os, time, random\nBORN = time.time()\nHOME = os.environ.get('HOME')\n"
        "SEED = random.random()\nwith open(__file__) as f:\n    TEXT = f.read()\n"
        "def ask():\n    return time.time()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    @workflow
    def lazy() -> str:
        import lazily_imported_one  # pyright: ignore[reportMissingImports] - made above

        return str(len(lazily_imported_one.TEXT))

    outcome = run(lazy)
    assert outcome.failure is None, outcome.failure

    @workflow
    def asking() -> float:
        import lazily_imported_one  # pyright: ignore[reportMissingImports] - made above

        return lazily_imported_one.ask()

    assert isinstance(run(asking).error, DeterminismViolation)


def test_modules_loaded_after_the_guard_and_importing_by_name_are_watched(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "by_name_later.py").write_text(
        "from datetime import datetime\nfrom random import randint\nfrom time import time\n"
        "ASK = [lambda: datetime.now(), lambda: randint(1, 2), lambda: time()]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import by_name_later  # pyright: ignore[reportMissingImports] - made above

    for ask in by_name_later.ASK:

        @workflow
        def bad() -> None:
            ask()  # noqa: B023 - run within the loop

        assert isinstance(run(bad).error, DeterminismViolation)


NAMES_BEFORE_PERDURE = """
from datetime import datetime
from random import choice, random
from time import time
from uuid import uuid4

from perdure.sdk.errors import DeterminismViolation
from perdure.sdk.workflow.workflow import workflow
from tests.sdk.replay.given import History

for ask in (
    lambda: time(),
    lambda: random(),
    lambda: uuid4(),
    lambda: choice("ab"),
    lambda: datetime.now(),
    lambda: datetime.utcnow(),
):
    @workflow
    def bad():
        ask()

    outcome = History(bad).task().cold()
    assert isinstance(outcome.error, DeterminismViolation), (ask, outcome)
    ask()
"""


def test_names_imported_before_perdure_are_found_where_they_are() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NAMES_BEFORE_PERDURE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


CLOCK_TRAVELLER = """
import sys, time, types
from datetime import datetime
from perdure.sdk.guard import install
real = {'time': time.time, 'now': datetime.now}  # in a dict: the guard replaces what globals hold
install()
assert time.time is not real['time']
try:
    import time_machine
except ImportError:
    pass
assert time.time is real['time']
assert type(datetime.now) is type(real['now']), datetime.now
"""


def test_the_clocks_are_given_back_to_time_machine() -> None:
    done = subprocess.run([sys.executable, "-c", CLOCK_TRAVELLER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_garbage_collector_calls_is_not_the_workflows_doing() -> None:
    said: list[float] = []

    class Dying:
        def __del__(self) -> None:
            said.append(time.time())

    class Other:
        pass

    def collected(phase: str, info: dict[str, int]) -> None:
        said.append(time.perf_counter())

    @workflow
    def makes_garbage() -> None:
        Dying()
        other = Other()
        weakref.finalize(other, time.time)
        del other
        gc.collect()

    gc.callbacks.append(collected)
    try:
        outcome = run(makes_garbage)
    finally:
        gc.callbacks.remove(collected)
    assert outcome.failure is None, outcome.failure
    assert len(said) >= 3


def test_times_that_are_given_are_not_asked_for() -> None:
    @workflow
    def formats() -> list[Any]:
        return [
            time.gmtime(0).tm_year,
            time.strftime("%Y", time.gmtime(0)),
            DateTime.fromtimestamp(0, datetime.UTC).year,
            DateTime(2026, 1, 1).isoformat(),
            random.Random(7).randint(1, 6) in range(1, 7),
            str(uuid.UUID(int=1)),
            uuid.uuid5(uuid.NAMESPACE_DNS, "x").version,
        ]

    outcome = run(formats)
    assert outcome.failure is None, outcome.failure


def test_datetime_is_still_the_type_it_was() -> None:
    now = DateTime.now(datetime.UTC)
    assert type(now) is datetime.datetime
    assert isinstance(now, DateTime)

    class Mine(DateTime):
        pass

    assert type(Mine.now()) is Mine
    assert abs(DateTime.now().timestamp() - time.time()) < 60


def test_an_unwatched_workflow_may_look_at_the_clock() -> None:
    @workflow(guard=False)
    def free() -> bool:
        return time.time() > 0

    assert texts(run(free).commands) == ["complete true"]


def test_the_guard_is_off_again_behind_the_workflow() -> None:
    @workflow
    def fine() -> None:
        return None

    run(fine)
    assert time.time() > 0
    assert random.random() >= 0


def test_other_threads_are_not_watched_while_a_workflow_runs() -> None:
    asked = threading.Lock()
    answered = threading.Lock()
    answers: list[float] = []
    asked.acquire()
    answered.acquire()

    def bystander() -> None:
        asked.acquire()
        answers.append(time.time())
        answered.release()

    thread = threading.Thread(target=bystander)
    thread.start()

    @workflow
    def waits_for_it() -> None:
        asked.release()
        answered.acquire()

    outcome = run(waits_for_it)
    thread.join()
    assert outcome.failure is None
    assert len(answers) == 1


def test_the_guard_is_lifted_for_one_block_alone_even_across_a_wait() -> None:
    @activity
    def look() -> None:
        return None

    @workflow
    def lifts() -> None:
        with workflow.unsafe.unguarded():
            time.time()
            call(look)
            time.time()
        time.time()

    history = History(lifts).task()
    machine = history.machine()
    first = machine.process(history.since())
    assert texts(first.commands) == ["schedule look() as 1"]
    seen = history.last
    history.apply(first.commands).completed("1").task()
    second = machine.process(history.since(seen))
    assert isinstance(second.error, DeterminismViolation)
    assert f":{lifts.fn.__code__.co_firstlineno + 6} in" in str(second.error)


def test_running_an_activity_directly_says_call() -> None:
    @activity
    def charge(cents: int) -> int:
        return cents

    @workflow
    def direct() -> int:
        return charge(1)

    @workflow
    async def direct_async() -> int:
        return charge(1)

    assert charge(1) == 1
    assert "`call(charge, ...)`" in str(run(direct).error)
    assert "`await start(charge, ...)`" in str(run(direct_async).error)
    assert f"{__file__}:{direct.fn.__code__.co_firstlineno + 2}" in str(run(direct).error)
