"""Under gevent and eventlet: what can be done works, and what cannot says whose doing that is, and what helps."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from perdure import AsyncEngine, Engine
from perdure.errors import EngineError

PATCHED_ALL = """
from gevent import monkey
monkey.patch_all()
import asyncio
from perdure import AsyncEngine, Engine, activity, workflow
from perdure.errors import EngineError

@activity
def double(number: int) -> int:
    return 2 * number

@workflow
def declared() -> str:
    return "ok"

assert double(2) == 4 and declared() == "ok"
try:
    with Engine("memory://"):
        print("opened")
except EngineError as error:
    print(error)

async def open_on_a_loop():
    async with AsyncEngine("memory://"):
        print("opened")

try:
    asyncio.run(open_on_a_loop())
except EngineError as error:
    print(error)
"""

AS_ADVISED = """
from gevent import monkey
monkey.patch_all(thread=False, queue=False, select=False)
import gevent
from perdure import Engine, activity, call, workflow

@activity
def add(number: int) -> int:
    return number + 1

@activity
async def add_async(number: int) -> int:
    return number + 1

@workflow
def adds(number: int) -> int:
    workflow.sleep(0.01)
    return call(add_async, call(add, number))

with Engine("memory://") as engine:
    print(gevent.spawn(engine.run, adds, 1, id="adds").get())
"""


def played(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_under_gevent_workflows_are_declared_and_an_engine_says_why_it_cannot_be_opened() -> None:
    blocking, on_a_loop = played(PATCHED_ALL)
    assert blocking == on_a_loop
    assert blocking.startswith("gevent has replaced this process's threads (gevent.monkey.patch_all())")
    assert "monkey.patch_all(thread=False, queue=False, select=False)" in blocking


def test_patched_as_that_says_an_engine_works_beside_gevent() -> None:
    assert played(AS_ADVISED) == ["3"]


async def test_eventlet_is_named_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    patcher: Any = ModuleType("eventlet.patcher")
    patched = {"thread"}
    patcher.is_monkey_patched = lambda module: module in patched
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    with pytest.raises(EngineError, match="eventlet has replaced this process's threads"):
        Engine("memory://").open()
    with pytest.raises(EngineError, match=r"eventlet\.monkey_patch\(thread=False, select=False\)"):
        await AsyncEngine("memory://").open()
    patched.clear()
    async with AsyncEngine("memory://"):
        pass
