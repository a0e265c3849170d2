"""Every store does what the model does, whatever is asked of it in whatever order."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from perdure.core.commit import Commit
from perdure.core.execution import decode, encode
from perdure.core.names import QueueName, TaskKind
from perdure.stores.api import BEGINNING, Namespace, RecordChange, Store
from perdure.stores.memory import MemoryStore
from perdure.stores.partitions import PARTITIONS, Partitions
from perdure.stores.sqlite import SqliteStore
from perdure.stores.visibility import ALL
from tests.stores.given import COMPLETED, FAILED, Run, event_ids

WORKFLOWS = [("bank", "order-1"), ("shop", "order-1"), ("shop", "order-2"), ("shop", "order-3")]
NAMESPACES = ["bank", "shop"]
SHARES = [Partitions(range(start, PARTITIONS, 2)) for start in (0, 1)]
QUEUES = [QueueName("shop", name, kind) for name in ("p", "q") for kind in TaskKind]

commit_plans = st.fixed_dictionaries(
    {
        "events": st.integers(0, 4),
        "wake_at_ns": st.none() | st.integers(1, 6),
        "held": st.booleans(),
        "close_as": st.sampled_from([None, None, None, COMPLETED, FAILED]),
        "add": st.lists(st.tuples(st.integers(1, 4), st.sampled_from(QUEUES), st.integers(1, 3)), max_size=3),
        "remove": st.lists(st.tuples(st.integers(1, 4), st.sampled_from(list(TaskKind))), max_size=3),
        "send": st.lists(st.sampled_from("abcd"), max_size=2, unique=True),
        "settle": st.lists(st.sampled_from("abcd"), max_size=2),
    }
)


steps = st.fixed_dictionaries(
    {
        "workflow": st.sampled_from(WORKFLOWS),
        "action": st.sampled_from(["go on", "go on", "go on", "start", "continue as new"]),
        "plan": commit_plans,
        "plan_of_next": commit_plans,
        "behind": st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1]),
        "expects": st.sampled_from(["current", "current", "current", "current", "none", "another"]),
    }
)
"""A commit: mostly as a sound engine would send it, sometimes on an outdated or invented state."""


def commit_of(run: Run, plan: dict[str, Any], **more: Any) -> Commit:
    """A commit with a state of its own; event ids follow from the version, so that rivals claim the same ones."""
    if plan["events"]:
        run.execution.next_event_id = run.execution.version * 10 + 1
    add = [run.task(event_id, queue, stamp) for event_id, queue, stamp in plan["add"]]
    remove = [run.task_ref(event_id, kind) for event_id, kind in plan["remove"]]
    commit = run.commit(**{**plan, "add": add, "remove": remove, **more})
    commit.execution = decode(encode(run.execution))
    return commit


record_changes = st.builds(
    RecordChange,
    kind=st.sampled_from(["schedule", "endpoint"]),
    namespace=st.sampled_from(["", "bank", "shop"]),
    name=st.sampled_from(["a", "b", "ö"]),
    expected_version=st.integers(0, 3),
    data=st.none() | st.binary(max_size=3),
    wake_at_ns=st.none() | st.integers(1, 6),
)


class Stores(RuleBasedStateMachine):
    """The model and another store, told the same."""

    def new_store(self) -> Store:
        """An empty one: SQLite, unless a subclass says otherwise."""
        self.folder = Path(tempfile.mkdtemp())
        return SqliteStore(self.folder / "store.db")

    def drop_store(self) -> None:
        """It is not needed any more."""
        shutil.rmtree(self.folder)

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.model: Store = MemoryStore()
        self.other: Store = self.new_store()
        self.do(self.model.open())
        self.do(self.other.open())
        self.stores = (self.model, self.other)
        self.runs: list[Run] = []
        self.current: dict[tuple[str, str], Run] = {}

    def do(self, call: Any) -> Any:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.do(self.other.close())
        self.runner.close()
        self.drop_store()

    @rule(batch=st.lists(steps, min_size=1, max_size=4, unique_by=lambda step: step["workflow"]))
    def commit(self, batch: list[dict[str, Any]]) -> None:
        commits = [self.commit_of_step(step) for step in batch]
        self.settle_what_is_durable(commits)
        assert self.do(self.model.commit(commits)) == self.do(self.other.commit(commits))
        self.do(self.catch_up())
        self.do(self.compare())

    def settle_what_is_durable(self, commits: list[Commit]) -> None:
        """As a sound engine does: a message is settled when it can be seen, and not while it is sent."""
        links = [link for commit in commits for link in (commit, commit.next_run) if link is not None]
        sent = {message.id for link in links for message in link.messages}
        durable = {row.message.id for row in self.do(self.model.pending_messages(BEGINNING, 100))}
        for link in links:
            link.remove_messages = [name for name in link.remove_messages if name in durable - sent]

    def commit_of_step(self, step: dict[str, Any]) -> Commit:
        run = self.current.get(step["workflow"])
        before = run.key.run_id if run else None
        after = {"current": before, "none": None, "another": "run-9999"}[step["expects"]]
        if run is None or step["action"] == "start":
            return commit_of(self.new_run(step["workflow"]), step["plan"], after=after)
        run.behind(step["behind"])
        if step["action"] == "go on":
            return commit_of(run, step["plan"])
        then = commit_of(self.new_run(step["workflow"]), step["plan_of_next"], after=after)
        return commit_of(run, {**step["plan"], "close_as": COMPLETED}, then=then)

    def new_run(self, workflow: tuple[str, str]) -> Run:
        number = len(self.runs)
        self.runs.append(Run(workflow[1], f"run-{number:04}", workflow[0], type=f"type-{number % 2}"))
        return self.runs[-1]

    async def catch_up(self) -> None:
        """Forget what was refused: every run is again as it is stored."""
        for run in self.runs:
            stored, current = await self.model.load([run.reference, run.current])
            if stored is not None:
                run.execution = stored
            if current is not None and current.key == run.key:
                self.current[run.key.namespace, run.key.workflow_id] = run
            elif current is None:
                self.current.pop((run.key.namespace, run.key.workflow_id), None)

    async def compare(self) -> None:
        await self.runs_are_the_same()
        await self.queues_are_the_same()
        await self.deadlines_are_the_same()
        await self.lists_are_the_same()
        await self.records_are_the_same()
        ours, theirs = [await store.pending_messages(BEGINNING, 100) for store in self.stores]
        assert [row.message for row in ours] == [row.message for row in theirs]
        assert [row.position for row in theirs] == sorted({row.position for row in theirs})
        await self.shares_are_the_same()

    async def shares_are_the_same(self) -> None:
        """What each half of the partitions holds is the same in both, and together it is everything."""
        whole = [len(await self.model.due(6, 100)), len(await self.model.due_records(6, 100))]
        for share in SHARES:
            answers: list[Any] = []
            for store in self.stores:
                records = await store.due_records(6, 100, partitions=share)
                due = await store.due(6, 100, share)
                answers.append(
                    [
                        sorted(due),
                        sorted(map(repr, records)),
                        await store.next_wake_at_ns(2, share),
                        await store.next_record_wake_at_ns(2, share),
                        await store.in_flight(None, 2, share),
                        [row.message for row in await store.pending_messages(BEGINNING, 2, share)],
                        [sorted(await store.closed_before(name, 1 << 62, 100, share)) for name in NAMESPACES],
                    ]
                )
                if store is self.model:
                    whole = [whole[0] - len(due), whole[1] - len(records)]
            assert answers[0] == answers[1]
        assert whole == [0, 0]

    @rule(places=st.lists(st.integers(0, 9), max_size=3))
    def delete(self, places: list[int]) -> None:
        keys = [self.runs[place].key for place in places if place < len(self.runs)]
        assert self.do(self.model.delete_executions(keys)) == self.do(self.other.delete_executions(keys))
        self.do(self.catch_up())
        self.do(self.compare())

    @rule(ids=st.lists(st.sampled_from("abcd"), max_size=2))
    def remove_messages(self, ids: list[str]) -> None:
        for store in (self.model, self.other):
            self.do(store.remove_messages(ids))

    @rule(changes=st.lists(record_changes, max_size=6))
    def put_records(self, changes: list[RecordChange]) -> None:
        assert self.do(self.model.put_records(changes)) == self.do(self.other.put_records(changes))
        self.do(self.records_are_the_same())

    @rule(name=st.sampled_from(NAMESPACES), days=st.integers(1, 90))
    def put_namespace(self, name: str, days: int) -> None:
        known = next((one for one in self.do(self.model.namespaces()) if one.name == name), None)
        for store in (self.model, self.other):
            self.do(store.put_namespace(Namespace(name, f"id of {name}", days), known))

    @rule()
    def reopen(self) -> None:
        for store in (self.model, self.other):
            self.do(store.close())
            self.do(store.open())
        self.do(self.compare())

    async def runs_are_the_same(self) -> None:
        references = [reference for run in self.runs for reference in (run.reference, run.current)]
        assert await self.model.load(references) == await self.other.load(references)
        for run in self.runs:
            for first, limit in ((1, 1000), (1, 12), (12, 1000), (25, 6)):
                batches = await self.model.history(run.key, first, limit)
                assert batches == await self.other.history(run.key, first, limit)
            events = event_ids(await self.other.history(run.key))
            assert events == sorted(set(events))

    async def queues_are_the_same(self) -> None:
        assert await self.model.queues() == await self.other.queues()
        for queue in QUEUES:
            ours, theirs = await self.model.tasks(queue, BEGINNING, 100), await self.other.tasks(queue, BEGINNING, 100)
            assert [row.task for row in ours] == [row.task for row in theirs]
            assert [row.position for row in theirs] == sorted({row.position for row in theirs})

    async def deadlines_are_the_same(self) -> None:
        assert await self.model.next_wake_at_ns() == await self.other.next_wake_at_ns()
        for now_ns in (0, 3, 6):
            assert sorted(await self.model.due(now_ns, 100)) == sorted(await self.other.due(now_ns, 100))

    async def lists_are_the_same(self) -> None:
        assert await self.model.namespaces() == await self.other.namespaces()
        assert await self.model.in_flight(None, 3) == await self.other.in_flight(None, 3)
        for namespace in NAMESPACES:
            ours, theirs = [await store.find_executions(namespace, ALL, None, 100) for store in self.stores]
            assert [found.execution for found in ours] == [found.execution for found in theirs]
            closed = [sorted(await store.closed_before(namespace, 1 << 62, 100)) for store in self.stores]
            assert closed[0] == closed[1]
            assert await self.model.count_executions(namespace) == await self.other.count_executions(namespace)

    async def records_are_the_same(self) -> None:
        for kind in ("schedule", "endpoint"):
            pages: list[tuple[Any, ...]] = [(None,), (None, "a", 2), (None, "a", 9, "bank"), ("shop", "a"), ("", "", 1)]
            for page in pages:
                assert await self.model.records(kind, *page) == await self.other.records(kind, *page)
            one = (kind, "shop", "b")
            assert await self.model.record(*one) == await self.other.record(*one)
        assert await self.model.next_record_wake_at_ns() == await self.other.next_record_wake_at_ns()
        for now_ns in (0, 3, 6):
            ours, theirs = await self.model.due_records(now_ns, 100), await self.other.due_records(now_ns, 100)
            assert sorted(map(repr, ours)) == sorted(map(repr, theirs))
            assert [row.wake_at_ns for row in ours] == [row.wake_at_ns for row in theirs]


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("database", ["postgres", "mysql"])
def test_a_database_does_what_the_model_does(request: pytest.FixtureRequest, database: str) -> None:
    store: Store = request.getfixturevalue(database)
    empty: Callable[[], None] = request.getfixturevalue(f"empty_{database}")

    class OnDatabase(Stores):
        def new_store(self) -> Store:
            empty()
            return store

        def drop_store(self) -> None:
            """It serves the next example."""

    fewer = settings(max_examples=8, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(OnDatabase, settings=fewer)
