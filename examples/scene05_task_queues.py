"""Scene 05: task queues.

Workers pull. Thirty orders are placed while there is no worker at all; their tasks wait in the file. Version 1
of the workers comes, gets some done and is killed. Version 2 is shipped and finishes the rest. Nothing is lost, and
what was recorded is not done again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

from stage import Stage, play, seen, show, step, title

from perdure import Engine, Retry, activity, call, workflow
from perdure.stores.databases import reading

ORDERS = [f"order-{number}" for number in range(1001, 1031)]


@activity(start_to_close_timeout="10s", retry=Retry(initial_interval="50ms"))
def ship(order_id: str) -> str:
    time.sleep(0.2 if os.environ["VERSION"] == "v1" else 0.02)  # version 2 is the faster one
    return f"{order_id} shipped by {os.environ['VERSION']}"


@workflow
def fulfil(order_id: str) -> str:
    return call(ship, order_id)


def shop(url: str) -> None:
    """Takes orders; has no worker."""
    with Engine(url, worker=False) as engine:
        for order_id in ORDERS:
            engine.start(fulfil, order_id, id=order_id)


def workers(url: str) -> None:
    """Runs activities, two at a time, until every order is finished."""
    with Engine(url, max_concurrent_activities=2) as engine, ThreadPoolExecutor(len(ORDERS)) as pool:

        def done(order_id: str) -> str:
            return engine.run(fulfil, order_id, id=order_id)

        shipping = [pool.submit(done, order_id) for order_id in ORDERS]
        for number, shipped in enumerate(as_completed(shipping), start=1):
            print(f"{number}: {shipped.result()}", flush=True)


def said(lines: list[str]) -> set[str]:
    """What was said of each order, without the number of the line."""
    return {line.partition(": ")[2] for line in lines}


def story(stage: Stage) -> None:
    title("Scene 05: task queues")
    url = stage.url

    step("a shop without workers takes 30 orders")
    stage.process(shop, url).wait(30)
    with reading(url) as store:
        waiting = store.waiting_tasks()
        still_open = store.executions(open_only=True)
    for queue, tasks in waiting.items():
        show(f"on disk, queue {queue.name!r}: {tasks} {queue.kind.name.lower()} tasks")
    seen("30 tasks wait for a worker", sum(waiting.values()) == len(ORDERS))
    seen("nothing has failed: 30 orders are open", len(still_open) == len(ORDERS))

    step("version 1 of the workers pulls tasks, and is killed after a few")
    first = stage.process(workers, url, VERSION="v1")
    first.wait_line("5: ")
    first.kill_9()
    show(f"kill -9 {first.pid}: no worker is alive; time passes, nobody times out")
    time.sleep(0.3)

    step("version 2 is shipped")
    second = stage.process(workers, url, VERSION="v2")
    second.wait(60)
    orders = said(second.lines)
    by_version = Counter(line.split()[-1] for line in orders)
    show(f"shipped by: {dict(by_version)}")
    seen("every order was shipped", sorted(line.split()[0] for line in orders) == ORDERS)
    seen("what version 1 had recorded was kept", said(first.lines) <= orders and by_version["v1"] >= 5)
    seen("the rest is the work of version 2", by_version["v2"] > 0 and by_version.total() == 30)


if __name__ == "__main__":
    play(__file__, story, shop, workers)
