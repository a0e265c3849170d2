"""The lock file tells who lives, of this process and of others, and forgets nobody when it is opened once more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.api.presence import BITS, presence
from perdure.stores.sqlite.lock_file import LockFile, lock_path, open_lock_file
from perdure.stores.sqlite.ownership import owner_of, read_owner
from tests.stores.processes import kill, process, read_line

FIRST, SECOND, LAST = presence(0), presence(1), presence((1 << BITS) - 1)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "store.db"


@pytest.fixture
def locks(store: Path) -> Iterator[LockFile]:
    found = open_lock_file(store, make=True)
    yield found
    found.close()


def test_workers_of_this_process_and_of_others_live_until_they_go_or_die(store: Path, locks: LockFile) -> None:
    locks.enter(LAST)
    with process(f"live:{FIRST},{SECOND}", store) as running:
        read_line(running)
        assert locks.living() == {FIRST, SECOND, LAST}
        with process(f"live:{presence(77)}", store) as another:
            read_line(another)
            assert locks.living() == {FIRST, SECOND, LAST, presence(77)}
            kill(another)
        assert locks.living() == {FIRST, SECOND, LAST}
        kill(running)
    assert locks.living() == {LAST}
    locks.go(LAST)
    locks.go(LAST)
    assert locks.living() == frozenset()


def test_whoever_looks_at_the_file_in_this_process_takes_nobodys_lock_away(store: Path, locks: LockFile) -> None:
    """The kernel would, if any descriptor of the file were closed."""
    assert locks.take()
    locks.enter(FIRST)
    owner_of(store)
    read_owner(store)
    open_lock_file(store, make=False).close()
    with process(f"live:{SECOND}", store) as running:
        assert read_line(running) == f"owned, {FIRST} {SECOND}"


def test_the_owners_lock_and_the_workers_are_apart(store: Path, locks: LockFile) -> None:
    with process(f"live:{FIRST}", store) as running:
        assert read_line(running) == f"free, {FIRST}"
        assert not locks.is_taken()
        assert locks.take()
        locks.leave()
    with process("hold", store) as running:
        read_line(running)
        assert locks.is_taken() and not locks.take()
        assert locks.living() == frozenset()


def test_a_forked_child_has_nothing_of_its_parents(store: Path, locks: LockFile) -> None:
    locks.take()
    locks.enter(FIRST)
    child = os.fork()
    if not child:
        mine = open_lock_file(store, make=True)
        os._exit(0 if mine is not locks and mine.is_taken() and mine.living() == {FIRST} and not mine.take() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert locks.living() == {FIRST}


def test_a_file_that_was_replaced_is_opened_anew(store: Path, locks: LockFile) -> None:
    lock_path(store).rename(lock_path(store).with_name("moved"))
    another = open_lock_file(store, make=True)
    assert another is not locks
    another.close()
    assert open_lock_file(store, make=True).take()
