"""Orders: what one is, the shop's catalogue, and the file of a thousand that the demo works through.

`orders.csv` beside this module (and, as a link, in `examples/`) was written by

    python -m perdure.demo.orders > src/perdure/demo/orders.csv

and always comes out the same: the seed is fixed. About one order in twenty has a card that will be declined, one in
thirty asks for something that is not in stock, and for one book there are more buyers than copies.
"""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from perdure.demo.services import DECLINED

SEED = 1001
FIRST_ORDER_ID = 1001
COLUMNS = ("order_id", "customer", "card", "items", "amount")
ORDERS_CSV = Path(__file__).parent / "orders.csv"


@dataclass(frozen=True)
class Order:
    """An order. `items`: quantity by SKU; money in cents."""

    order_id: str
    customer: str
    card: str
    items: dict[str, int]
    amount_cents: int


@dataclass(frozen=True)
class Outcome:
    """How an order ended: `fulfilled` with its tracking number, or `declined` or `out_of_stock` and why."""

    status: str
    detail: str


@dataclass(frozen=True)
class Product:
    """Price in cents, and how many the warehouse is given before the demo starts."""

    price_cents: int
    stock: int


CATALOGUE = {
    "LAMP": Product(4200, 5000),
    "MUG": Product(950, 5000),
    "TEA": Product(720, 5000),
    "NOTEBOOK": Product(1180, 5000),
    "PEN": Product(340, 5000),
    "CLOCK": Product(8900, 5000),
    "KETTLE": Product(3650, 5000),
    "BLANKET": Product(5400, 5000),
    "FIRST-EDITION": Product(19900, 12),
    "GRAMOPHONE": Product(32000, 0),
}
PLENTIFUL = [sku for sku, product in CATALOGUE.items() if product.stock > 1000]
CUSTOMERS = [
    "ada", "alan", "barbara", "brian", "claude", "dennis", "donald", "edsger", "frances", "fred", "grace", "hedy",
    "jean", "john", "katherine", "ken", "leslie", "margaret", "maurice", "niklaus", "radia", "robin", "sophie", "tony",
]  # fmt: skip
ORDER_1001 = Order("1001", "ada", "tok_visa_4242", {"LAMP": 1}, 4200)


def generate(count: int, seed: int = SEED) -> Iterator[Order]:
    """`count` orders, numbered from 1001; the first is ORDER #1001: one lamp, $42.00."""
    dice = random.Random(seed)
    yield from [ORDER_1001][:count]
    for number in range(1, count):
        yield _order(str(FIRST_ORDER_ID + number), dice)


def _order(order_id: str, dice: random.Random) -> Order:
    luck = dice.random()
    items = {sku: dice.choice((1, 1, 1, 2, 3)) for sku in dice.sample(PLENTIFUL, dice.choice((1, 1, 2, 3)))}
    card = f"tok_visa_{dice.randrange(1000, 10000)}"
    if luck < 0.05:
        card = f"{DECLINED}_{dice.randrange(1000, 10000)}"
    elif luck < 0.08:
        items["GRAMOPHONE"] = 1
    elif luck < 0.105:
        items = {"FIRST-EDITION": 1}
    customer = f"{dice.choice(CUSTOMERS)}-{dice.randrange(1, 20)}"
    return Order(order_id, customer, card, items, total_cents(items))


def total_cents(items: dict[str, int]) -> int:
    """What the catalogue asks for these items."""
    return sum(CATALOGUE[sku].price_cents * quantity for sku, quantity in items.items())


def money(cents: int) -> str:
    """`$42.00`."""
    return f"${cents / 100:,.2f}"


def write_orders(orders: Iterable[Order], file: TextIO) -> None:
    """As CSV: order_id, customer, card, items (`LAMP:1 MUG:2`), amount (in dollars)."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for order in orders:
        items = " ".join(f"{sku}:{quantity}" for sku, quantity in order.items.items())
        writer.writerow((order.order_id, order.customer, order.card, items, f"{order.amount_cents / 100:.2f}"))


def read_orders(path: Path) -> list[Order]:
    """The orders of such a file.

    Raises:
        ValueError: a line cannot be read; names the file, the line and the reason.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        orders: list[Order] = []
        for row in reader:
            try:
                orders.append(_parse(row))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {reader.line_num}: not an order ({error!r})") from error
    return orders


def _parse(row: dict[str, str | None]) -> Order:
    order_id, customer, card, listed, amount = (row[name] for name in COLUMNS)
    if not (order_id and customer and card and listed and amount):
        raise ValueError("a column is empty")
    items: dict[str, int] = {}
    for item in listed.split():
        sku, _, quantity = item.partition(":")
        items[sku] = int(quantity)
    dollars, _, cents = amount.partition(".")
    return Order(order_id, customer, card, items, int(dollars) * 100 + int(cents))


if __name__ == "__main__":
    write_orders(generate(1000), sys.stdout)
