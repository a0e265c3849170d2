"""The order file: it is what its script writes, and a bad line of it is told by its place."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from perdure.demo.orders import (
    CATALOGUE,
    ORDER_1001,
    ORDERS_CSV,
    generate,
    money,
    read_orders,
    total_cents,
    write_orders,
)
from perdure.demo.services import DECLINED


def test_the_file_is_what_the_script_writes() -> None:
    text = StringIO()
    write_orders(generate(1000), text)
    assert ORDERS_CSV.read_text() == text.getvalue()
    assert Path("examples/orders.csv").read_text() == text.getvalue()


def test_reading_gives_what_was_written() -> None:
    assert read_orders(ORDERS_CSV) == list(generate(1000))


def test_order_1001_is_the_first_and_costs_42_dollars() -> None:
    first = next(generate(1))
    assert first == ORDER_1001
    assert money(first.amount_cents) == "$42.00"


def test_the_orders_hold_every_kind_of_trouble() -> None:
    orders = list(generate(1000))
    wanted = sum(order.items.get("FIRST-EDITION", 0) for order in orders)
    assert sum(order.card.startswith(DECLINED) for order in orders) > 20
    assert sum("GRAMOPHONE" in order.items for order in orders) > 10
    assert wanted > CATALOGUE["FIRST-EDITION"].stock
    assert all(order.amount_cents == total_cents(order.items) for order in orders)


@pytest.mark.parametrize(
    "line", ["1001,ada,tok,LAMP:one,42.00", "1001,ada,tok,LAMP:1,free", "1001,ada,tok,LAMP,42.00", "1001,ada"]
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(f"order_id,customer,card,items,amount\n1000,bob,tok,MUG:1,9.50\n{line}\n")
    with pytest.raises(ValueError, match=r"orders\.csv, line 3: not an order"):
        read_orders(file)
