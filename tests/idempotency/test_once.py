"""An effect and its answer are one: the first call has them, later ones get the answer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure import Transaction, activity, call, workflow
from perdure.idempotency import IdempotencyKeys, KeyReusedError, TransactionNeededError, fingerprint_of
from perdure.testing import TestEngine
from tests.idempotency.conftest import Database

REQUEST = {"card": "tok_visa", "cents": 4200}


class Receipt(msgspec.Struct):
    number: int
    card: str


class Gateway:
    """A service on a database: a connection, its keys, and the table of its effects."""

    def __init__(self, database: Database, keys: IdempotencyKeys | None = None, **options: Any) -> None:
        self.database = database
        self.connection = database.connect(**options)
        self.keys = keys or IdempotencyKeys("charges")

    def prepare(self) -> Gateway:
        self.keys.create_table(self.connection)
        self.connection.cursor().execute("CREATE TABLE IF NOT EXISTS charges (card TEXT, cents INTEGER)")
        self.connection.commit()
        return self

    def insert(self, request: dict[str, Any] = REQUEST, answer: Any = 17) -> Callable[[], Any]:
        def work() -> Any:
            mark = self.database.mark
            sql = f"INSERT INTO charges VALUES ({mark}, {mark})"
            self.connection.cursor().execute(sql, (request["card"], request["cents"]))
            return answer

        return work

    def charge(self, key: str, request: dict[str, Any] = REQUEST, answer: Any = 17, **options: Any) -> Any:
        answer = self.keys.once(self.connection, key, request, self.insert(request, answer), **options)
        self.connection.commit()
        return answer


@pytest.fixture
def gateway(database: Database) -> Gateway:
    return Gateway(database).prepare()


def test_the_first_answer_is_every_answer(gateway: Gateway, database: Database) -> None:
    assert [gateway.charge("k1", answer=answer) for answer in (17, 18, 19)] == [17, 17, 17]
    assert database.rows("charges") == [("tok_visa", 4200)]


def test_another_key_and_another_scope_are_another_effect(gateway: Gateway, database: Database) -> None:
    refunds = Gateway(database, IdempotencyKeys("refunds"))
    assert [gateway.charge("k1"), gateway.charge("k2", answer=18), refunds.charge("k1", answer=19)] == [17, 18, 19]
    assert len(database.rows("charges")) == 3


def test_the_same_key_for_another_request_is_an_error(gateway: Gateway, database: Database) -> None:
    gateway.charge("k1")
    with pytest.raises(KeyReusedError, match="'k1' of 'charges' was used for another request before") as told:
        gateway.charge("k1", {"card": "tok_visa", "cents": 9900})
    assert (told.value.key, told.value.scope) == ("k1", "charges")
    assert gateway.charge("k1", answer=99) == 17
    assert len(database.rows("charges")) == 1


def test_the_order_of_fields_is_no_difference(gateway: Gateway) -> None:
    gateway.charge("k1")
    assert gateway.charge("k1", {"cents": 4200, "card": "tok_visa"}, answer=99) == 17


def test_effect_and_answer_are_durable_together(gateway: Gateway, database: Database) -> None:
    assert gateway.keys.once(gateway.connection, "k1", REQUEST, gateway.insert()) == 17
    assert (database.rows("charges"), database.rows("idempotency_keys")) == ([], [])
    gateway.connection.rollback()
    assert gateway.charge("k1", answer=18) == 18
    assert len(database.rows("charges")) == len(database.rows("idempotency_keys")) == 1


def test_an_effect_that_fails_leaves_nothing_even_if_its_caller_commits(gateway: Gateway, database: Database) -> None:
    def fail() -> None:
        gateway.insert()()
        raise OSError("half way")

    with pytest.raises(OSError, match="half way"):
        gateway.keys.once(gateway.connection, "k1", REQUEST, fail)
    gateway.connection.commit()
    assert (database.rows("charges"), database.rows("idempotency_keys")) == ([], [])
    assert gateway.charge("k1") == 17


def test_an_answer_that_cannot_be_kept_undoes_the_effect(gateway: Gateway, database: Database) -> None:
    with pytest.raises(TypeError):
        gateway.charge("k1", answer=object())
    gateway.connection.commit()
    assert database.rows("charges") == []


def test_what_the_database_refuses_is_raised_and_the_transaction_goes_on(gateway: Gateway, database: Database) -> None:
    def refused() -> None:
        gateway.connection.cursor().execute("INSERT INTO no_such_table VALUES (1)")

    gateway.connection.cursor().execute("INSERT INTO charges VALUES ('earlier', 1)")
    with pytest.raises(Exception, match="no_such_table"):
        gateway.keys.once(gateway.connection, "k1", REQUEST, refused)
    gateway.connection.commit()
    assert database.rows("charges") == [("earlier", 1)]


def test_answers_come_back_as_the_type_that_is_asked_for(gateway: Gateway) -> None:
    first = gateway.charge("k1", answer=Receipt(7, "visa"), kind=Receipt)
    again = gateway.charge("k1", kind=Receipt)
    assert first == again == Receipt(7, "visa")
    assert gateway.charge("k1") == {"number": 7, "card": "visa"}
    assert gateway.charge("none", answer=None) is None
    assert gateway.charge("none", answer=5) is None


def test_a_second_call_waits_for_the_first_and_gets_its_answer(gateway: Gateway, database: Database) -> None:
    second = Gateway(database)
    answers: list[Any] = []
    began, go_on = threading.Event(), threading.Event()

    def slowly() -> int:
        began.set()
        go_on.wait(30)
        return gateway.insert()()

    def first() -> None:
        answers.append(gateway.keys.once(gateway.connection, "k1", REQUEST, slowly))
        gateway.connection.commit()

    def then() -> None:
        began.wait(30)
        go_on.set()
        answers.append(second.charge("k1", answer=99))

    threads = [threading.Thread(target=target) for target in (first, then)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [17, 17]
    assert len(database.rows("charges")) == 1


def test_the_key_of_a_caller_that_gave_up_is_free(gateway: Gateway, database: Database) -> None:
    gateway.keys.once(gateway.connection, "k1", REQUEST, gateway.insert())
    gateway.connection.close()
    assert Gateway(database).charge("k1", answer=18) == 18


def test_one_key_may_be_used_inside_the_work_of_another_but_not_of_itself(gateway: Gateway, database: Database) -> None:
    def nested() -> Any:
        return gateway.keys.once(gateway.connection, "inner", REQUEST, gateway.insert(answer=5))

    assert gateway.keys.once(gateway.connection, "outer", REQUEST, nested) == 5
    gateway.connection.commit()
    assert len(database.rows("idempotency_keys")) == 2

    def circular() -> Any:
        return gateway.keys.once(gateway.connection, "circle", REQUEST, gateway.insert())

    with pytest.raises(KeyReusedError, match="must not ask for its own key"):
        gateway.keys.once(gateway.connection, "circle", REQUEST, circular)
    gateway.connection.commit()
    assert len(database.rows("charges")) == 1


def test_answers_are_forgotten_after_their_time(database: Database) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    keys = IdempotencyKeys("charges", keep="7 days", now=lambda: now)
    gateway = Gateway(database, keys).prepare()
    assert gateway.charge("k1") == 17
    now += timedelta(days=7, microseconds=-1)
    assert gateway.charge("k1", answer=18) == 17
    now += timedelta(microseconds=1)
    assert gateway.charge("k1", answer=18) == 18
    assert len(database.rows("charges")) == 2


def test_pruning_deletes_what_is_past_its_time_in_its_own_scope(database: Database) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    keys = IdempotencyKeys("charges", keep="7 days", now=lambda: now)
    others = IdempotencyKeys("refunds", keep="7 days", now=lambda: now)
    gateway = Gateway(database, keys).prepare()
    for number in range(5):
        gateway.charge(f"old{number}")
    Gateway(database, others).charge("old")
    now += timedelta(days=7)
    gateway.charge("new")
    assert [keys.prune(gateway.connection, limit=3) for _ in range(3)] == [3, 2, 0]
    gateway.connection.commit()
    assert sorted(row[:2] for row in database.rows("idempotency_keys")) == [("charges", "new"), ("refunds", "old")]


def test_a_table_of_another_name(database: Database) -> None:
    gateway = Gateway(database, IdempotencyKeys("charges", table="seen_requests")).prepare()
    gateway.charge("k1")
    assert [row[:2] for row in database.rows("seen_requests")] == [("charges", "k1")]
    with pytest.raises(ValueError, match="a plain name"):
        IdempotencyKeys("charges", table="keys; DROP TABLE charges")


def test_without_a_transaction_it_refuses(database: Database) -> None:
    options: dict[str, Any] = {"isolation_level": None} if database.kind == "sqlite" else {"autocommit": True}
    gateway = Gateway(database, **options).prepare()
    with pytest.raises(TransactionNeededError, match=r"begin a transaction|no transaction was begun"):
        gateway.charge("k1")
    assert database.rows("charges") == []
    gateway.connection.cursor().execute("BEGIN")
    assert gateway.charge("k1") == 17
    assert len(database.rows("charges")) == 1


@pytest.mark.parametrize(("one", "other"), [({"a": 1}, {"a": 2}), (b"1", 1), ("1", 1), (b"{}", {}), (None, {})])
def test_different_requests_have_different_fingerprints(one: Any, other: Any) -> None:
    assert fingerprint_of(one) != fingerprint_of(other)
    assert fingerprint_of(one) == fingerprint_of(one)


def test_it_works_in_a_transactional_activity(tmp_path: Path) -> None:
    keys = IdempotencyKeys("letters")

    @activity(name="idempotency.send", transactional=True)
    def send(tx: Transaction, to: str) -> int:
        keys.create_table(tx)
        tx.execute("CREATE TABLE IF NOT EXISTS letters (recipient TEXT)")

        def write() -> int:
            return tx.execute("INSERT INTO letters VALUES (?)", (to,)).lastrowid or 0

        return keys.once(tx, f"welcome {to}", to, write, int)

    @workflow(name="idempotency.welcome")
    def welcome(to: str) -> int:
        return call(send, to)

    with TestEngine(f"sqlite:///{tmp_path}/engine.db", workflows=[welcome], activities=[send]) as engine:
        assert [engine.run(welcome, to, id=f"w{n}") for n, to in enumerate(["ada", "bob", "ada"])] == [1, 2, 1]
    connection = sqlite3.connect(tmp_path / "engine.db")
    assert connection.execute("SELECT recipient FROM letters").fetchall() == [("ada",), ("bob",)]
    connection.close()
