"""What a store says of some partitions is what it says of all, less what belongs to others."""

from __future__ import annotations

from collections import Counter

from perdure.stores.api import BEGINNING, RecordChange, Store
from perdure.stores.partitions import ALL_PARTITIONS, NO_PARTITIONS, PARTITIONS, Partitions, partition_of
from tests.stores.given import COMPLETED, START_NS, Run, message_id

EVEN = Partitions(range(0, PARTITIONS, 2))
ODD = Partitions(range(1, PARTITIONS, 2))
FOR_EVER_NS = 1 << 62


def names(prefix: str, share: Partitions, count: int = 40) -> list[str]:
    """Those of prefix-0, prefix-1, ... in namespace default that belong to these partitions."""
    return [name for name in (f"{prefix}-{number}" for number in range(count)) if share.hold("default", name)]


def test_the_partition_of_a_name_is_the_same_for_ever() -> None:
    assert partition_of("default", "order-1") == 1045
    assert partition_of("", "") == 3757
    assert partition_of("a", "bc") != partition_of("ab", "c")
    spread = Counter(partition_of("default", f"order-{number}") for number in range(20 * PARTITIONS))
    assert len(spread) == PARTITIONS
    assert max(spread.values()) < 60


def test_all_partitions_hold_everything_and_none_nothing() -> None:
    assert ALL_PARTITIONS.is_all
    assert not EVEN.is_all
    assert EVEN | ODD == ALL_PARTITIONS
    assert ALL_PARTITIONS.hold("any", "name")
    assert not NO_PARTITIONS.hold("any", "name")


async def test_deadlines_of_some_partitions(store: Store) -> None:
    runs = [Run(f"order-{number}") for number in range(40)]
    await store.commit([run.commit(wake_at_ns=100 - number) for number, run in enumerate(runs)])
    for share in (EVEN, ODD):
        mine = list(reversed(names("order", share)))
        assert [key.workflow_id for key in await store.due(100, 100, share)] == mine
        assert [key.workflow_id for key in await store.due(100, 3, share)] == mine[:3]
        last = 100 - int(mine[0].removeprefix("order-"))
        second = 100 - int(mine[1].removeprefix("order-"))
        assert await store.next_wake_at_ns(partitions=share) == last
        assert await store.next_wake_at_ns(last, share) == second
    assert await store.next_wake_at_ns(partitions=NO_PARTITIONS) is None
    assert await store.due(100, 100, NO_PARTITIONS) == []
    assert len(await store.due(100, 100, ALL_PARTITIONS)) == 40


async def test_what_workers_hold_and_what_has_closed_in_some_partitions(store: Store) -> None:
    held = [Run(f"order-{number}") for number in range(40)]
    closed = [Run(f"done-{number}") for number in range(40)]
    await store.commit([run.commit(held=True) for run in held])
    await store.commit([run.commit(close_as=COMPLETED) for run in closed])
    for share in (EVEN, ODD):
        mine = sorted(names("order", share))
        keys = await store.in_flight(None, 100, share)
        assert [key.workflow_id for key in keys] == mine
        assert await store.in_flight(keys[2], 2, share) == keys[3:5]
        found = await store.closed_before("default", FOR_EVER_NS, 100, share)
        assert sorted(key.workflow_id for key in found) == sorted(names("done", share))
        assert len(await store.closed_before("default", FOR_EVER_NS, 3, share)) == 3
        assert await store.closed_before("default", START_NS, 3, share) == []


async def test_messages_belong_to_the_workflow_that_they_are_for(store: Store) -> None:
    run = Run()
    ids = [f"message-{number}" for number in range(40)]
    await store.commit([run.commit(send=ids)])
    seen: list[str] = []
    for share in (EVEN, ODD):
        rows = await store.pending_messages(BEGINNING, 100, share)
        assert all(row.message and share.hold(row.message.namespace, row.message.workflow_id) for row in rows)
        assert [row.position for row in rows] == sorted(row.position for row in rows)
        assert await store.pending_messages(rows[2].position, 2, share) == rows[3:5]
        seen += [message_id(row) for row in rows]
    assert sorted(seen) == sorted(ids)


async def test_records_of_some_partitions(store: Store) -> None:
    changes = [RecordChange("note", "default", f"a-{number}", 0, b"", 100 - number) for number in range(40)]
    await store.put_records(changes)
    for share in (EVEN, ODD):
        mine = list(reversed(names("a", share)))
        page = await store.due_records(100, 100, partitions=share)
        assert [record.name for record in page] == mine
        assert not page.more
        page = await store.due_records(100, 3, partitions=share)
        assert [record.name for record in page] == mine[:3]
        assert page.more
        assert await store.next_record_wake_at_ns(partitions=share) == page[0].wake_at_ns
        assert await store.next_record_wake_at_ns(page[0].wake_at_ns or 0, share) == page[1].wake_at_ns
        for namespace in ("default", None):
            page = await store.records("note", namespace, partitions=share)
            assert [record.name for record in page] == sorted(mine)
            page = await store.records("note", namespace, page[1].name, 3, "default", partitions=share)
            assert [record.name for record in page] == sorted(mine)[2:5]
            assert page.more
    assert await store.next_record_wake_at_ns(partitions=NO_PARTITIONS) is None
    assert await store.records("note", partitions=NO_PARTITIONS) == []


async def test_a_store_of_one_engine_has_nobody_to_tell(store: Store) -> None:
    heard: list[bytes | None] = []
    await store.listen("news", heard.append)
    await store.notify("news", [b"a"])
    assert heard == []
