"""Every flipped bit in what was written is found: by the check, and by whoever reads it."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import stat
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from perdure.core.commit import Commit, ExecutionKey
from perdure.stores.api import BEGINNING, Damaged, RecordChange, Reference, StoreError
from perdure.stores.reading import StoreFile
from perdure.stores.sqlite import SqliteStore, checking, reader, schema
from perdure.stores.visibility.query import ALL
from tests.stores.given import COMPLETED, Run, message_id
from tests.stores.test_state_parts import BIG, beat

FLIPS = 1_000
"""In history and state; a seed makes them."""
ANYWHERE = 300


def told(commit: Commit) -> Commit:
    """Its events say something, so that no two batches are alike."""
    for event in commit.events:
        name = f"{commit.key.workflow_id} {event.event_id} " * 4
        event.workflow_execution_signaled_event_attributes.signal_name = name
    commit.encoded = [event.SerializeToString() for event in commit.events]
    return commit


async def fill(store: SqliteStore) -> None:
    """Executions with histories, a part beside a state, messages, records."""
    await store.open()
    runs = [Run(f"order-{number}") for number in range(8)]
    for turn in range(12):
        await store.commit([told(run.commit(events=1 + (turn + place) % 5)) for place, run in enumerate(runs)])
    await store.commit([runs[0].commit(send=["hello", "again"]), runs[1].commit(close_as=COMPLETED)])
    await store.commit([beat(Run("beating"), 5, BIG)])
    await store.put_records([RecordChange("schedule", "default", f"s-{n}", 0, b"data" * 9, 5) for n in range(3)])
    await store.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound store at rest."""
    path = tmp_path_factory.mktemp("sound") / "store.db"
    asyncio.run(fill(SqliteStore(path)))
    return path


class Place(NamedTuple):
    """Bytes of a row, where they stand in the file, and how they are read."""

    offset: int
    length: int
    read: Callable[[sqlite3.Connection], object]


def places(path: Path) -> list[Place]:
    """Of every batch of events and every state."""
    content = path.read_bytes()
    found: list[Place] = []
    with closing(sqlite3.connect(path)) as connection:
        states = connection.execute("SELECT namespace, workflow_id, run_id, snapshot FROM executions").fetchall()
        batches = connection.execute(
            "SELECT namespace, workflow_id, run_id, data FROM history JOIN executions ON execution_id = executions.id"
        ).fetchall()
    for *names, data in states:
        reference = Reference(*names)
        found.append(Place(content.index(data), len(data), lambda db, of=reference: reader.load(db, of)))
    for *names, data in batches:
        key = ExecutionKey(*names)
        found.append(Place(content.index(data), len(data), lambda db, of=key: reader.read_history(db, of, 1, 1 << 40)))
    return [place for place in found if place.length > 20]


@contextmanager
def flipped(path: Path, offset: int, bit: int) -> Generator[None]:
    """One bit of the file is another one."""
    file = os.open(path, os.O_RDWR)
    try:
        [byte] = os.pread(file, 1, offset)
        os.pwrite(file, bytes([byte ^ 1 << bit]), offset)
        yield
        os.pwrite(file, bytes([byte]), offset)
    finally:
        os.close(file)


def look(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)


def test_a_sound_store_has_no_problems(sound: Path) -> None:
    with StoreFile(str(sound)) as file:
        assert file.check() == []


def test_every_one_of_a_thousand_flipped_bits_in_history_or_state_is_found(sound: Path) -> None:
    dice = random.Random(8)
    candidates = places(sound)
    by_check = by_reader = 0
    for _ in range(FLIPS):
        place = dice.choice(candidates)
        offset = place.offset + dice.randrange(place.length)
        with flipped(sound, offset, dice.randrange(8)), closing(look(sound)) as connection:
            by_check += bool(checking.check(connection))
            try:
                place.read(connection)
            except Damaged:
                by_reader += 1
    assert (by_check, by_reader) == (FLIPS, FLIPS)
    with StoreFile(str(sound)) as file:
        assert file.check() == [], "all were put back"


def content_of(path: Path) -> list[object]:
    """What can be read of executions, their histories and what belongs to them."""
    with closing(look(path)) as connection:
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
            for table in ("executions", "history", "state_parts", "records", "messages", "current_runs")
        ]


def test_no_flipped_bit_anywhere_changes_what_is_read_without_being_found(sound: Path) -> None:
    """Other bits than those of the rows themselves: numbers of columns and rows, pages, pointers, free space."""
    dice = random.Random(9)
    content, size, harmless = content_of(sound), sound.stat().st_size, 0
    for _ in range(ANYWHERE):
        offset, bit = dice.randrange(size), dice.randrange(8)
        with flipped(sound, offset, bit):
            try:
                with closing(look(sound)) as connection:
                    problems = checking.check(connection)
            except sqlite3.DatabaseError as error:
                problems = [str(error)]
            if not problems:
                harmless += 1
                assert content_of(sound) == content, (offset, bit)
    assert harmless < ANYWHERE, "free space is not all there is"


async def test_what_is_damaged_costs_nobody_else_anything(sqlite: SqliteStore) -> None:
    await fill(sqlite)
    with closing(sqlite3.connect(sqlite.path)) as connection:
        connection.execute("UPDATE executions SET snapshot = x'c1' WHERE workflow_id = 'order-3'")
        connection.execute("UPDATE history SET checksum = checksum + 1 WHERE execution_id = 5 AND first_event_id = 1")
        connection.execute("UPDATE messages SET data = x'00' WHERE id = 'hello'")
        connection.execute("UPDATE records SET data = x'00' WHERE name = 's-1'")
        connection.commit()
    await sqlite.open()
    for run in (Run("order-3"), Run("order-2")):
        if run.key.workflow_id == "order-3":
            with pytest.raises(Damaged, match="order-3"):
                await sqlite.load([run.reference])
        else:
            assert await sqlite.load([run.reference])
    with pytest.raises(Damaged, match="order-4"):
        await sqlite.history(Run("order-4").key)
    found = await sqlite.find_executions("default", ALL)
    assert "order-3" not in [one.execution.key.workflow_id for one in found]
    assert len(found) == 8
    pending = await sqlite.pending_messages(BEGINNING, 10)
    assert [row.message is None for row in pending] == [True, False]
    assert message_id(pending[1]) == "again"
    assert [bool(record.damage) for record in await sqlite.records("schedule", "default")] == [False, True, False]
    assert [bool(record.damage) for record in await sqlite.due_records(9, 9)].count(True) == 1
    told = await sqlite.check()
    assert len(told) == 4, told
    await sqlite.close()


async def test_a_state_that_a_list_does_not_agree_with_is_found(sqlite: SqliteStore) -> None:
    for column, value in (("version", 99), ("status", 3), ("wake_at_ns", 7), ("task_queue", "'other'")):
        await fill(sqlite)
        with closing(sqlite3.connect(sqlite.path)) as connection:
            connection.execute(f"UPDATE executions SET {column} = {value} WHERE workflow_id = 'order-3'")
            connection.commit()
        with StoreFile(str(sqlite.path)) as file:
            assert file.check() == [f"workflow 'order-3' (run run-1): {column} in the table is not what the state says"]
        sqlite.path.unlink()


# --- files of before ----------------------------------------------------------------------------------

OLD_VERSION = 5


def write_as_before(new: Path, old: Path) -> None:
    """The same store as a perdure without checksums would have left it."""
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.executescript(Path(__file__).with_name("schema_1.sql").read_text(encoding="utf-8"))
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        scripts = {target: text for target, text in schema.read_migrations().items() if target <= OLD_VERSION}
        schema.migrate(connection, schema.FIRST_VERSION, scripts)
        connection.execute("ATTACH ? AS new", (str(new),))
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})").fetchall())
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
    old.chmod(0o644)


async def test_a_file_of_before_is_given_checksums_and_taken_from_others(sound: Path, sqlite: SqliteStore) -> None:
    write_as_before(sound, sqlite.path)
    with pytest.raises(StoreError, match="an engine brings it up to date"):
        StoreFile(str(sqlite.path))
    await sqlite.open()
    assert await sqlite.check() == []
    assert len(await sqlite.find_executions("default", ALL)) == 9
    await sqlite.commit([Run("new").commit()])
    await sqlite.close()
    assert stat.S_IMODE(os.stat(sqlite.path).st_mode) == 0o600
    dice = random.Random(10)
    candidates = places(sqlite.path)
    for _ in range(50):
        place = dice.choice(candidates)
        offset = place.offset + dice.randrange(place.length)
        with flipped(sqlite.path, offset, dice.randrange(8)), closing(look(sqlite.path)) as connection:
            assert checking.check(connection)
