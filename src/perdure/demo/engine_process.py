"""The engine's process of the demo: everything that dies when the demo says kill -9.

    python -m perdure.demo.engine_process --store sqlite:////tmp/orders.db --orders orders.csv

It opens the store, lets the engine take up whatever is unfinished, and asks for every order of the file to be
fulfilled, so many at a time. Asking is idempotent: an order that is under way is joined, one that is finished
answers with its result. So the process needs to remember nothing, and is simply started again.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from perdure import AsyncEngine, Engine
from perdure.demo.fulfilment import fulfill_order
from perdure.demo.orders import Order, read_orders
from perdure.demo.services.parent import leave_with_parent

CONCURRENT_ORDERS = 60
REPORT_EVERY_S = 0.1


class Work:
    """The orders to fulfil, and how many are finished."""

    def __init__(self, engine: AsyncEngine, orders: Sequence[Order], prefix: str) -> None:
        self._engine = engine
        self._prefix = prefix
        self._orders = iter(orders)
        self.finished = 0

    async def run(self) -> None:
        reporter = asyncio.create_task(self._report())
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_ORDERS):
                group.create_task(self._fulfil())
        reporter.cancel()
        print(f"finished {self.finished}", flush=True)

    async def _fulfil(self) -> None:
        for order in self._orders:
            await self._engine.run(fulfill_order, order, id=f"{self._prefix}order-{order.order_id}")
            self.finished += 1

    async def _report(self) -> None:
        told = 0
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            if self.finished != told:
                told = self.finished
                print(f"finished {told}", flush=True)


async def main(store: str, orders: Sequence[Order], prefix: str) -> None:
    """Fulfil the orders, and return when the last one is finished."""
    async with Engine(store, task_queue=f"{prefix}orders") as engine:
        print("ready", flush=True)
        await Work(engine, orders, prefix).run()
    print("done", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the demo's engine process")
    parser.add_argument("--store", required=True)
    parser.add_argument("--prefix", default="", help="of workflow ids and of the task queue")
    parser.add_argument("--orders", type=Path, required=True)
    parser.add_argument("--leave-with-parent", action="store_true", help="stop when standard input closes")
    options = parser.parse_args()
    if options.leave_with_parent:
        leave_with_parent()
    asyncio.run(main(options.store, read_orders(options.orders), options.prefix))
