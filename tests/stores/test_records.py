"""Records: what is kept and is no execution."""

from __future__ import annotations

from typing import Any

from perdure.core.commit import Commit
from perdure.core.names import RecordRef
from perdure.stores.api import Record, RecordChange, Store, Unstorable
from tests.stores.given import APPLIED, CONFLICT, Run, stored


def put(name: str, version: int, data: bytes | None, wake_at_ns: int | None = None, in_: str = "shop") -> RecordChange:
    return RecordChange("schedule", in_, name, version, data, wake_at_ns)


async def names(store: Store, namespace: str | None = "shop", *page: Any) -> list[str]:
    return [f"{one.namespace}/{one.name}" for one in await store.records("schedule", namespace, *page)]


async def test_a_record_is_made_replaced_and_deleted(store: Store) -> None:
    assert await store.put_records([put("nightly", 0, b"one", 5)]) == [APPLIED]
    assert await store.record("schedule", "shop", "nightly") == Record("schedule", "shop", "nightly", 1, 5, b"one")
    assert await store.put_records([put("nightly", 1, b"two")]) == [APPLIED]
    assert await store.record("schedule", "shop", "nightly") == Record("schedule", "shop", "nightly", 2, None, b"two")
    assert await store.put_records([put("nightly", 2, None)]) == [APPLIED]
    assert await store.record("schedule", "shop", "nightly") is None
    assert await store.put_records([put("nightly", 0, b"again")]) == [APPLIED]


async def test_only_the_expected_version_is_changed(store: Store) -> None:
    await store.put_records([put("nightly", 0, b"one")])
    refused = [put("nightly", 0, b"x"), put("nightly", 2, b"x"), put("nightly", 2, None), put("nightly", 0, None)]
    assert await store.put_records([*refused, put("weekly", 1, b"x"), put("weekly", 1, None)]) == [CONFLICT] * 6
    assert await store.put_records([put("weekly", 0, None)]) == [APPLIED], "there is none, as it should be"
    assert await names(store) == ["shop/nightly"]
    assert (await store.records("schedule"))[0].data == b"one"


async def test_the_changes_of_a_call_are_made_in_order_and_a_conflict_touches_no_other(store: Store) -> None:
    changes = [put("a", 0, b"1"), put("a", 1, b"2"), put("a", 1, b"late"), put("b", 0, b"1"), put("b", 1, None)]
    assert await store.put_records(changes) == [APPLIED, APPLIED, CONFLICT, APPLIED, APPLIED]
    assert [(one.name, one.version, one.data) for one in await store.records("schedule")] == [("a", 2, b"2")]
    assert await store.put_records([]) == []


async def test_one_that_cannot_be_stored_is_refused_alone(store: Store) -> None:
    changes = [put("a", 0, b"1"), put("late", 0, b"", 2**63), put("caf\udce9", 0, b""), put("b", 0, b"1", 2**63 - 1)]
    outcomes = await store.put_records(changes)
    assert [outcome is APPLIED for outcome in outcomes] == [True, False, False, True]
    for outcome in outcomes[1:3]:
        assert isinstance(outcome, Unstorable)
        assert outcome.is_value
    assert "'late'" in str(outcomes[1])
    assert await names(store) == ["shop/a", "shop/b"]
    assert await store.put_records([put("a", 1, b"2", -(2**63))]) != [APPLIED]
    assert await store.put_records([put("a", 1, b"2")]) == [APPLIED]


async def test_they_are_listed_by_namespace_and_name_page_by_page(store: Store) -> None:
    await store.put_records([put(name, 0, b"", in_=place) for place in ("shop", "", "bank") for name in "cab"])
    assert await names(store) == ["shop/a", "shop/b", "shop/c"]
    assert await names(store, "shop", "a", 1) == ["shop/b"]
    assert await names(store, "") == ["/a", "/b", "/c"]
    everywhere = await names(store, None)
    assert everywhere == ["/a", "/b", "/c", "bank/a", "bank/b", "bank/c", "shop/a", "shop/b", "shop/c"]
    assert await names(store, None, "b", 3, "bank") == ["bank/c", "shop/a", "shop/b"]
    assert await store.records("endpoint") == []


async def test_kinds_share_nothing(store: Store) -> None:
    await store.put_records([put("a", 0, b"schedule"), RecordChange("endpoint", "shop", "a", 0, b"endpoint")])
    found = await store.record("endpoint", "shop", "a")
    assert found is not None
    assert found.data == b"endpoint"
    assert len(await store.records("endpoint")) == 1


async def test_those_that_are_due_come_earliest_first(store: Store) -> None:
    await store.put_records(
        [put("late", 0, b"", 9), put("never", 0, b""), put("early", 0, b"", 3), put("mid", 0, b"", 6)]
    )
    assert await store.next_record_wake_at_ns() == 3
    assert [one.name for one in await store.due_records(6, 10)] == ["early", "mid"]
    assert [one.name for one in await store.due_records(100, 1)] == ["early"]
    assert await store.due_records(2, 10) == []
    await store.put_records([put("early", 1, b"", 20), put("mid", 1, None)])
    assert await store.next_record_wake_at_ns() == 9
    await store.put_records([put("late", 1, b""), put("early", 2, b"")])
    assert await store.next_record_wake_at_ns() is None


async def test_they_are_durable_beside_executions(store: Store) -> None:
    await store.commit([Run().commit()])
    await store.put_records([put("nightly", 0, b"\x00\xff" * 5000)])
    await store.close()
    await store.open()
    [found] = await store.records("schedule")
    assert found.data == b"\x00\xff" * 5000
    assert (await stored(store, Run()))[0] == 1


async def test_a_page_of_them_ends_with_its_bytes_and_says_that_there_are_more(store: Store) -> None:
    await store.put_records([put(name, 0, b"x" * 1_000, 5) for name in "abcd"])
    page = await store.records("schedule", "shop", limit_bytes=2_500)
    assert [record.name for record in page] == ["a", "b"]
    assert page.more
    page = await store.records("schedule", "shop", "b", limit_bytes=2_500)
    assert ([record.name for record in page], page.more) == (["c", "d"], False)
    page = await store.records("schedule", "shop", limit_bytes=1)
    assert ([record.name for record in page], page.more) == (["a"], True), "one at least"
    assert (await store.records("schedule", "shop", limit=4)).more, "perhaps: nobody looked further"
    due = await store.due_records(5, 10, limit_bytes=2_500)
    assert (len(due), due.more) == (2, True)
    assert not (await store.due_records(5, 10)).more


def taking(commit: Commit, *records: tuple[str, int]) -> Commit:
    commit.take_records = [RecordRef("schedule", "shop", name, version) for name, version in records]
    return commit


async def test_a_commit_takes_records_away_that_are_there_and_is_a_conflict_without_them(store: Store) -> None:
    run, other, third = Run(), Run("order-2", "run-2"), Run("order-3", "run-3")
    await store.put_records([put(name, 0, b"1") for name in "abc"])
    assert await store.commit([taking(run.commit(), ("a", 1))]) == [APPLIED]
    late = [taking(other.commit(), ("a", 1)), taking(third.commit(), ("b", 2))]
    assert await store.commit(late) == [CONFLICT, CONFLICT], "gone, and of another version"
    assert await names(store) == ["shop/b", "shop/c"]
    assert await store.load([other.reference, third.reference]) == [None, None], "nothing of them is written"
    fresh = Run("order-2", "run-2")
    outcomes = await store.commit([taking(run.commit(), ("b", 1)), taking(fresh.commit(), ("c", 1))])
    assert outcomes == [APPLIED, APPLIED], "of a run that goes on, and of one that starts"
    assert await names(store) == []


async def test_of_two_commits_that_take_one_record_one_is_applied(store: Store) -> None:
    runs = [Run(f"order-{number}", f"run-{number}") for number in range(3)]
    await store.put_records([put("a", 0, b"1")])
    outcomes = await store.commit([*[taking(run.commit(), ("a", 1)) for run in runs[:2]], runs[2].commit()])
    assert sorted(one is APPLIED for one in outcomes[:2]) == [False, True]
    assert outcomes[2] is APPLIED
    assert await names(store) == []


async def test_a_lost_race_leaves_the_record(store: Store) -> None:
    run = Run()
    await store.put_records([put("a", 0, b"1")])
    await store.commit([run.commit()])
    assert await store.commit([taking(run.behind().commit(), ("a", 1))]) == [CONFLICT]
    assert await names(store) == ["shop/a"]
