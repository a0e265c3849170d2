"""A web service of several processes on one SQLite file: every process starts orders and works on them.

    uvicorn examples.web_service:app --workers 4          (pip install uvicorn; from the repository's folder)
    curl -X POST http://127.0.0.1:8000/orders/1001        is answered when the order is on disk, and not before
    curl http://127.0.0.1:8000/orders/1001                waits for its result
    perdure workflow list --store sqlite:///orders.db

One of the processes owns the file and serves the others on `orders.db.sock`; when it dies another takes the file.
Nothing says which. An order that is posted twice, by a client that got no answer, is one order; and its charge is known
again by its idempotency key: a process that dies between the charge and its record charges nobody twice.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

from perdure import AsyncEngine, activity, call, workflow
from perdure.errors import WorkflowNotFoundError

STORE = os.environ.get("ORDERS", "orders.db")
BANK = os.environ.get("BANK", "bank.db")


@activity(start_to_close_timeout="1m")
def charge(order: str) -> str:
    """The bank's part: the same key again is the same charge."""
    key = activity.info().idempotency_key
    with closing(sqlite3.connect(BANK, timeout=30)) as bank, bank:
        bank.execute("CREATE TABLE IF NOT EXISTS charges (key TEXT PRIMARY KEY, order_id TEXT NOT NULL)")
        bank.execute("INSERT OR IGNORE INTO charges VALUES (?, ?)", (key, order))
    return f"charged {order}"


@activity
def ship(order: str) -> str:
    return f"shipped {order} from process {os.getpid()}"


@workflow
def fulfil(order: str, held: bool) -> str:
    call(charge, order)
    if held:
        workflow.wait_signal("release")
    return call(ship, order)


engine = AsyncEngine(f"sqlite:///{STORE}")

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """ASGI, by hand: the engine lives as long as the process."""
    if scope["type"] == "lifespan":
        await receive()
        await engine.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await engine.close()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        await answer(send, *await orders(scope["method"], scope["path"], scope["query_string"] == b"held"))


async def orders(method: str, path: str, held: bool) -> tuple[int, object]:
    """Status and body of a response."""
    folder, _, order = path.strip("/").partition("/")
    if folder != "orders" or not order:
        return 404, {"error": "there are /orders/<id> alone"}
    if method == "POST":
        await engine.start(fulfil, order, held, id=order)
        return 202, {"order": order}
    try:
        return 200, {"order": order, "result": await engine.get(order).result()}
    except WorkflowNotFoundError:
        return 404, {"error": f"there is no order {order}"}


async def answer(send: Send, status: int, body: object) -> None:
    data = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
