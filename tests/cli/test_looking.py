"""Commands that only look change nothing and make nothing; commands that change something change that alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdure import Engine, activity, call, workflow
from perdure.cli.main import cli
from perdure.embedded import EngineSeams, seamed
from perdure.engine.node.config import EngineConfig
from perdure.stores.api import StoreError
from perdure.stores.reading import StoreFile
from perdure.stores.sqlite.ownership import owner_of
from perdure.stores.sqlite.read_only import ReadOnlyFile, ReadOnlyStore
from tests.eventually import eventually
from tests.stores.processes import process, read_line

Run = Callable[..., Result]

READING = [
    "workflow list",
    "workflow list --query WorkflowType='bill'",
    "workflow describe bill-1",
    "workflow describe bill-1 --json",
    "workflow history bill-1",
    "workflow export bill-1",
    "schedule list",
    "schedule describe nightly",
    "store check",
]
CHANGING = [
    "workflow cancel bill-1",
    "workflow terminate bill-1",
    "workflow signal bill-1 word 1",
    "workflow pause bill-1",
    "workflow reset bill-1 --step send_bill",
    "activity pause bill-1 --activity-id 1",
    "schedule pause nightly",
    "schedule trigger nightly",
    "schedule delete nightly",
]
HOUR_NS = 3600 * 10**9


class Later:
    """A clock that is so much ahead: what an engine sees that is opened so much later."""

    def __init__(self, by_ns: int) -> None:
        self._by_ns = by_ns

    def now_ns(self) -> int:
        return time.time_ns() + self._by_ns


@activity
def send_bill(customer: str) -> str:
    return f"billed {customer}"


@workflow
def bill(customer: str) -> str:
    said = call(send_bill, customer)
    workflow.sleep("1h")
    return said


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def waits(engine: Engine, workflow_id: str) -> None:
    """Until it sleeps."""
    for _ in range(100_000):
        if engine.get(workflow_id).describe().history_length >= 11:
            return
    raise AssertionError(f"{workflow_id} does not come to sleep")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store that nobody has open, with a workflow asleep and a schedule that missed two hours' times."""
    url = f"sqlite:///{tmp_path / 'bills.db'}"
    seams = EngineSeams(clock=Later(-2 * HOUR_NS))
    with seamed(Engine, seams, url, workflows=[bill], activities=[send_bill]) as engine:
        engine.start(bill, "everybody", id="bill-1")
        engine.schedules.create("nightly", bill, "everybody", every="1m")
        waits(engine, "bill-1")
    return url


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("command", READING)
def test_a_command_that_looks_leaves_a_stopped_store_as_it_was(store: str, tmp_path: Path, command: str) -> None:
    before = contents(tmp_path)
    result = run(*command.split(), "--store", store)
    assert result.exit_code == 0, result.output
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", [*READING, *CHANGING])
def test_no_command_makes_a_store_that_is_not_there(tmp_path: Path, command: str) -> None:
    result = run(*command.split(), "--store", f"sqlite:///{tmp_path / 'typo.db'}")
    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "There is no store" in result.stderr


def test_schedules_of_a_stopped_store_are_told_and_nothing_of_them_is_carried_out(store: str) -> None:
    listed = run("schedule", "list", "--store", store).output
    assert "nightly" in listed and "1 schedule" in listed
    assert "No engine has this store open" in listed
    described = run("schedule", "describe", "nightly", "--store", store).output
    assert "0 started, 0 skipped, 0 missed, 0 waiting" in described
    assert [one["workflow_id"] for one in listed_executions(store)] == ["bill-1"]


def listed_executions(store: str) -> list[dict[str, str]]:
    return json.loads(run("workflow", "list", "--store", store, "--json").output)


@pytest.mark.parametrize("command", READING[:-1])
def test_a_command_that_looks_works_beside_the_engine_that_owns_the_file(tmp_path: Path, command: str) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    with Engine(url, workflows=[bill], activities=[send_bill]) as engine:
        engine.start(bill, "everybody", id="bill-1")
        engine.schedules.create("nightly", bill, "everybody", every="1h")
        waits(engine, "bill-1")
        result = run(*command.split(), "--store", url)
        assert result.exit_code == 0, result.output
        assert "bill-1" in result.output or "nightly" in result.output or "ActivityTaskScheduled" in result.output
        assert "No engine has" not in result.output


@pytest.mark.parametrize("command", [one for one in CHANGING if not one.startswith("activity")])
def test_a_command_that_changes_something_carries_out_nothing_else(store: str, command: str) -> None:
    assert run(*command.split(), "--store", store).exit_code == 0
    assert len(listed_executions(store)) == 1 or "reset" in command, "the schedule's missed times are the next engine's"


def test_a_trigger_on_a_stopped_store_is_carried_out_by_the_next_engine(store: str) -> None:
    run("schedule", "pause", "nightly", "--store", store)
    run("schedule", "trigger", "nightly", "--store", store)
    with Engine(store, workflows=[bill], activities=[send_bill]) as engine:
        for _ in range(100_000):
            if engine.schedules.describe("nightly").action_count:
                break
        assert engine.schedules.describe("nightly").action_count > 0


@pytest.mark.parametrize("command", CHANGING)
def test_a_command_that_changes_something_has_it_done_by_the_engine_that_has_the_file(
    tmp_path: Path, command: str
) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    with Engine(url, workflows=[bill], activities=[]) as engine:
        engine.start(bill, "everybody", id="bill-1")
        eventually(lambda: engine.get("bill-1").describe().pending_activities, "an activity that nobody knows")
        engine.schedules.create("nightly", bill, "everybody", every="1h")
        done = run(*command.split(), "--store", url)
        assert done.exit_code == 0, done.stderr
        assert "next engine" not in done.output, "this one carries it on"
        assert engine.get("bill-1").describe()


@pytest.fixture
def at_rest(store: str) -> Iterator[ReadOnlyFile]:
    file = ReadOnlyFile(Path(store.removeprefix("sqlite:///")))
    yield file
    file.close()


def test_an_engine_that_opens_the_file_meanwhile_is_noticed(store: str, at_rest: ReadOnlyFile) -> None:
    count = "SELECT count(*) FROM executions"
    assert at_rest.read(lambda connection: connection.execute(count).fetchone()) == (1,)
    with Engine(store, workflows=[bill], activities=[send_bill]) as engine:
        for number in range(2, 5):
            engine.start(bill, "somebody", id=f"bill-{number}")
        found = at_rest.read(lambda connection: connection.execute(count).fetchone())
        assert found[0] >= 4


def test_an_engine_that_was_there_between_two_reads_is_noticed(store: str, at_rest: ReadOnlyFile) -> None:
    with Engine(store, workflows=[bill], activities=[send_bill]) as engine:
        engine.start(bill, "somebody", id="bill-2")
    found = at_rest.read(lambda connection: connection.execute("SELECT count(*) FROM executions").fetchone())
    assert found[0] >= 2


async def test_a_store_that_is_read_refuses_to_be_written(store: str) -> None:
    file = ReadOnlyStore(Path(store.removeprefix("sqlite:///")))
    with pytest.raises(StoreError, match="not open"):
        await file.namespaces()
    await file.open()
    assert [one.name for one in await file.namespaces()] == ["default"]
    with pytest.raises(StoreError, match="for reading alone"):
        await file.remove_namespace("default")
    await file.close()
    await file.close()


def test_a_store_without_an_owner_has_none_and_one_with_an_owner_says_whose_it_is(store: str) -> None:
    path = Path(store.removeprefix("sqlite:///"))
    assert owner_of(path) is None
    assert owner_of(path.with_name("nothing.db")) is None
    with Engine(store, worker=False):
        assert str(owner_of(path)).startswith("this process, pid ")
    with process("hold", path.with_name("other.db")) as running:
        read_line(running)
        assert f"pid {running.pid} on" in str(owner_of(path.with_name("other.db")))
        with StoreFile(str(path.with_name("other.db"))) as file:
            assert file.executions() == []


def test_the_store_may_be_named_by_the_environment(store: str) -> None:
    result = CliRunner().invoke(cli, ["workflow", "list"], env={"PERDURE_STORE": store})
    assert "1 execution" in result.output


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("workflow show bill-1", "Did you mean 'history'?"),
        ("workflow descibe bill-1", "Did you mean 'describe'?"),
        ("workflow stop bill-1", "Did you mean 'cancel'?"),
        ("workflows list", "Did you mean 'workflow'?"),
        ("workflow xyzzy", "There are: "),
        ("workflow list --stroe x", "--store"),
        ("workflow list", "PERDURE_STORE"),
    ],
)
def test_what_is_asked_wrongly_is_answered_with_what_was_meant(command: str, meant: str) -> None:
    result = run(*command.split())
    assert result.exit_code == 2
    assert meant in result.stderr


def test_a_steering_engine_does_not_do_what_is_due(store: str) -> None:
    config = EngineConfig(has_duties=False)
    seams = EngineSeams(engine_config=config, clock=Later(4 * HOUR_NS))
    with seamed(Engine, seams, store, worker=False) as engine:
        assert engine.get("bill-1").describe().history_length == 11, "its timer is due, and waits"
        assert engine.count() == 1
