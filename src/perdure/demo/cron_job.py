"""The order job as it is usually written: a plain function, run by cron until it gets through.

    * * * * *  python -m perdure.demo.cron_job ORDER_ID ORDERS_CSV DONE_FILE

It is not careless. It does nothing when the order is marked as done, and marks it when it is through. But between the
charge and the mark lies a moment, and whoever dies in it does everything again.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from perdure.demo.fulfilment import charge_card, create_shipment, reserve_inventory, send_notification
from perdure.demo.orders import Order, read_orders


def fulfill_order(order: Order) -> None:
    charge_card(order)
    reserve_inventory(order)
    time.sleep(0.3)  # packing
    tracking = create_shipment(order)
    send_notification(order, f"On its way: {tracking}")


def run(order: Order, done: Path) -> None:
    """One run of the job: nothing to do when the order is marked as done."""
    if done.exists():
        return
    fulfill_order(order)
    with done.open("w") as file:
        file.write(order.order_id)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    wanted, orders_csv, done_file = sys.argv[1:]
    run(next(order for order in read_orders(Path(orders_csv)) if order.order_id == wanted), Path(done_file))
