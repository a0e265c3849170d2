"""The guard's verdict is the same in a process that has just begun and in one that has done everything before."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import pytest
from temporalio.api.common.v1 import Payload

from perdure.sdk.convert import Converter
from perdure.sdk.errors import DeterminismViolation
from perdure.sdk.guard import patches, whose
from perdure.sdk.guard.table import Asked, Kind
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.workflow.workflow import call, workflow
from tests.sdk.guard.probes import FINE, REFUSED
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, version_of

Verdicts = dict[str, list[str]]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdicts]:
    """Of processes that try all calls, each twice: in their order, backwards, and known from outside of workflows."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.sdk.guard.probes"]
    processes = {
        order: subprocess.Popen([*command, order], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for order in ("forward", "backwards", "known before")
    }
    found: dict[str, Verdicts] = {}
    for order, process in processes.items():
        said, wrong = process.communicate(timeout=100)
        assert process.returncode == 0, wrong
        found[order] = json.loads(said.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", FINE)
def test_what_a_library_keeps_may_be_read_cold_and_warm(name: str, verdicts: dict[str, Verdicts]) -> None:
    assert {order: found[name] for order, found in verdicts.items()} == {order: ["fine", "fine"] for order in verdicts}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_workflow_decides_by_is_refused_cold_and_warm(name: str, verdicts: dict[str, Verdicts]) -> None:
    assert {order: found[name] for order, found in verdicts.items()} == {
        order: ["refused", "refused"] for order in verdicts
    }


def test_archives_have_workflow_time_in_their_headers() -> None:
    from tests.sdk.guard.probes import archive

    made: list[list[bytes]] = []

    @workflow
    def packs() -> None:
        made.append([archive(kind) for kind in ("gzip", "gzip file", "zip", "tar")])

    history = History(packs).task()
    assert history.cold().finished
    assert history.cold().finished
    assert made[0] == made[1]
    began = history.now_ns // 10**9
    assert int.from_bytes(made[0][0][4:8], "little") == began
    assert zlib.decompress(made[0][0], wbits=31) == b"x" * 100


# --- encoding and decoding ----------------------------------------------------------------------------


class Sealing:
    """A codec as people write them: a fresh nonce for each payload, a key that the environment names."""

    def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"sealed", "key": self._key()}, data=os.urandom(12) + p.SerializeToString())
            for p in payloads
        ]

    def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._open(payload) for payload in payloads]

    def _open(self, payload: Payload) -> Payload:
        if payload.metadata["encoding"] != b"sealed":
            return payload
        assert payload.metadata["key"] == self._key()
        return Payload.FromString(payload.data[12:])

    def _key(self) -> bytes:
        return os.environ.get("SEALING_KEY", "key").encode()


def test_a_codec_may_look_at_settings_and_throw_dice() -> None:
    @version_of("sealed")
    def code(value: str) -> str:
        return call(a, value)

    converter = Converter(Sealing())
    history = History(code)
    started = history.events[0].workflow_execution_started_event_attributes
    started.input.payloads.extend(converter.to_payloads(("value",)))
    history.task()
    machine = WorkflowMachine(code, converter, namespace="default", task_queue="default")
    outcome = machine.process(history.since())
    assert outcome.error is None, outcome.error
    assert outcome.commands[0].schedule_activity_task_command_attributes.input.payloads[0].data


class Named(pydantic.BaseModel):
    name: str
    label: str = ""

    @pydantic.model_validator(mode="after")
    def look(self) -> Named:
        self.label = os.environ.get("LABEL", "none")
        return self


class Stamped(pydantic.BaseModel):
    at: datetime.datetime = pydantic.Field(default_factory=lambda: datetime.datetime.now())


def test_what_a_users_model_asks_while_it_is_decoded_is_the_workflows_decision() -> None:
    @version_of("decodes")
    def labelled(value: Named) -> str:
        return value.label

    @version_of("decodes")
    def stamped(value: Stamped) -> str:
        return value.at.isoformat()

    for code, given in ((labelled, {"name": "x"}), (stamped, {})):
        outcome = History(code, given).task().cold()
        assert isinstance(outcome.error, DeterminismViolation), outcome
        assert f"at {__file__}:" in str(outcome.error)


COLD_ARGUMENT = """
import pydantic
from perdure import Engine, workflow

class Order(pydantic.BaseModel):
    lines: "list[Line]"

class Line(pydantic.BaseModel):
    sku: str

@workflow
def first_line(order: Order) -> str:
    return order.lines[0].sku

with Engine("memory://") as engine:
    print(engine.run(first_line, Order.model_construct(lines=[Line.model_construct(sku="lamp")]), id="x"))
"""


def test_an_argument_whose_model_is_built_when_it_is_decoded_reaches_the_workflow() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COLD_ARGUMENT], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.splitlines() == ["lamp"], done.stderr


# --- installed libraries ------------------------------------------------------------------------------

LIBRARY = """
import datetime
import os
import pathlib
import tempfile
import threading

def setting():
    return os.environ.get("PATH")

def data_of_its_own():
    return pathlib.Path(__file__).with_name("data.txt").read_text()

def file_of(path):
    with open(path) as file:
        return file.read()

def clock():
    return datetime.datetime.now()

def temporary():
    tempfile.tempdir = None
    return tempfile.gettempdir()

def thread():
    threading.Thread(target=print).start()

def calls(back):
    return back()
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library that is installed where libraries are, and one of its name that reads settings for others."""
    monkeypatch.setattr(whose, "library_folders", (*whose.library_folders, f"{tmp_path}/"))
    monkeypatch.setattr(
        sys.modules["perdure.sdk.guard.verdict"], "_INSTALLATION", (*whose.library_folders, f"{tmp_path}/")
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("installed_one", "dotenv"):
        (tmp_path / f"{name}.py").write_text(LIBRARY)
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "data.txt").write_text("of its own")
    import installed_one  # pyright: ignore[reportMissingImports] - made above

    yield installed_one
    for name in ("installed_one", "dotenv"):
        sys.modules.pop(name, None)


def outcome_of(ask: Any) -> Any:
    @version_of("asks")
    def code() -> str:
        return str(ask())

    return History(code).task().cold()


def test_an_installed_library_may_look_at_settings_and_its_own_data(library: Any) -> None:
    assert outcome_of(library.setting).error is None
    assert texts(outcome_of(library.data_of_its_own).commands) == ['complete "of its own"']


def test_a_library_may_find_the_folder_for_temporary_files_once_and_again(library: Any) -> None:
    assert outcome_of(library.temporary).error is None
    assert outcome_of(lambda: library.tempfile.gettempdir()).error is not None, "not the user"


def test_what_the_guard_itself_puts_in_between_is_nobodys(library: Any) -> None:
    """A function that it has wrapped and lets through may call one that it does not."""
    looked_at = patches._wrapper(threading.Thread(target=print).start, "made up", Asked(Kind.LOOK, "nothing"))
    assert isinstance(outcome_of(lambda: library.calls(looked_at)).error, DeterminismViolation)


def test_so_may_a_library_that_perdure_itself_calls(library: Any) -> None:
    ours: dict[str, Any] = {"__name__": "perdure.sdk.made_up"}
    exec("def asks(function):\n    return function()\n", ours)
    assert outcome_of(lambda: ours["asks"](library.setting)).error is None
    assert isinstance(outcome_of(lambda: ours["asks"](library.clock)).error, DeterminismViolation)


def test_not_at_files_of_the_application_at_clocks_or_threads(library: Any) -> None:
    for ask in (lambda: library.file_of(__file__), lambda: library.clock(), lambda: library.thread()):
        outcome = outcome_of(ask)
        assert isinstance(outcome.error, DeterminismViolation), outcome
        assert f"at {__file__}:{ask.__code__.co_firstlineno}" in str(outcome.error), "the user's line"
        assert "workflow code calls installed_one." in str(outcome.error)


def test_nor_at_settings_when_it_does_so_for_its_caller(library: Any) -> None:
    import dotenv  # pyright: ignore[reportMissingImports] - made above

    assert isinstance(outcome_of(lambda: dotenv.setting()).error, DeterminismViolation)


def test_what_the_user_gives_it_to_call_is_the_users(library: Any) -> None:
    asked = outcome_of(lambda: library.calls(lambda: os.environ["PATH"]))
    assert isinstance(asked.error, DeterminismViolation)
    assert "workflow code calls os.environ" in str(asked.error)


def test_a_workflow_that_is_itself_installed_is_the_users_code(library: Any) -> None:
    from perdure.sdk.workflow.workflow import SyncWorkflow

    outcome = History(SyncWorkflow(library.setting, "installed")).task().cold()
    assert isinstance(outcome.error, DeterminismViolation)
