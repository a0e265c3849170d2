"""Act 1: the plain function, cron, and the worst moment to die."""

from __future__ import annotations

import shutil
from pathlib import Path

from perdure.demo.orders import ORDER_1001, ORDERS_CSV, money
from perdure.demo.processes import Process, ProcessFailed, Town, wait_until
from perdure.demo.screen import Screen

HOLD_S = 60.0


def act_one(screen: Screen, directory: Path) -> int:
    """Returns what the customer's statement adds up to, in cents: 8400 for an order of 4200."""
    screen.act(
        1,
        "the plain function and cron",
        "The order is an ordinary function: charge, reserve, ship, notify. cron runs it until it gets through.",
        "It is killed right after the gateway has charged the card, before it could take note of that.",
    )
    orders = directory / "orders.csv"
    shutil.copyfile(ORDERS_CSV, orders)
    with Town(directory) as town:
        _first_run_dies(screen, town, orders)
        _second_run_gets_through(screen, town, orders)
        statement = town.payments.client.get("/statement", customer=ORDER_1001.customer)
    total: int = statement["total_cents"]
    screen.statement("The customer's statement, by the gateway", statement, right=total == ORDER_1001.amount_cents)
    if total != ORDER_1001.amount_cents:
        screen.say(f"{money(ORDER_1001.amount_cents)} were owed. {money(total)} were charged.", "bold red")
    return total


def _job(town: Town, orders: Path) -> Process:
    done = str(orders.with_name("order-1001.done"))
    return Process("-m", "perdure.demo.cron_job", "1001", str(orders), done, environment=town.environment)


def _first_run_dies(screen: Screen, town: Town, orders: Path) -> None:
    gateway = town.payments.client
    gateway.arm("hold_answer", "/charge", calls=1, seconds=HOLD_S)
    with _job(town, orders) as job:
        screen.happens("cron", f"starts the job for ORDER #1001: process {job.pid}")
        wait_until(lambda: gateway.held() == 1, "the gateway has charged")
        screen.happens("gateway", f"charges {money(ORDER_1001.amount_cents)}; its answer is on the way")
        job.kill_9()
        screen.kill(job.pid, "the job: nobody noted the charge")
    gateway.heal()


def _second_run_gets_through(screen: Screen, town: Town, orders: Path) -> None:
    with _job(town, orders) as job:
        screen.happens("cron", f"order #1001 is not marked as done: starts the job again, process {job.pid}")
        if job.wait(30) != 0:
            raise ProcessFailed("the second run of the job failed:\n" + "\n".join(job.errors))
        screen.happens("job", "charges, reserves, ships, notifies, and marks the order as done")
