"""The shop as a process: the engine, and an HTTP door through which customers, the bank and the carrier come in.

    POST /orders      an order
    POST /paid        the bank: the money for an order has arrived
    POST /picked-up   the carrier: the customer has it

It answers 200 when what it was told is durable, and not before; whoever gets no answer tells it again.
"""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from fulfilment.order import ACTIVITIES, Fulfilment, Order
from fulfilment.reconciliation import Reconciliation
from perdure import Engine
from perdure.demo.services.client import ServiceClient, Unavailable
from perdure.embedded import EngineSeams, seamed
from perdure.errors import PerdureError, WorkflowNotFoundError

DAY_NS = 86_400 * 10**9


class LaterClock:
    """The time some days from now."""

    def __init__(self, days: float) -> None:
        self._ahead_ns = round(days * DAY_NS)

    def now_ns(self) -> int:
        return time.time_ns() + self._ahead_ns


class _Door(BaseHTTPRequestHandler):
    server: Shop

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self.server.hear(self.path, body)
            self._answer(200, {})
        except WorkflowNotFoundError as error:  # not yet, or not any more: the caller tries again, or gives up
            self._answer(503, {"message": str(error)})
        except PerdureError as error:
            self._answer(500, {"message": str(error)})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        encoded = msgspec.json.encode(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:
        """The history is the log."""


class Shop(ThreadingHTTPServer):
    """Listens on loopback."""

    daemon_threads = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        super().__init__(("127.0.0.1", 0), _Door)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def hear(self, path: str, body: bytes) -> None:
        """Returns when it is durable. Raises PerdureError."""
        if path == "/orders":
            order = msgspec.json.decode(body, type=Order)
            self._engine.start(Fulfilment, order, id=f"order-{order.id}")
            return
        news = msgspec.json.decode(body)
        workflow_id = f"order-{news['order_id']}"
        if path == "/paid":
            self._engine.activities.complete(news["payment_id"], workflow_id=workflow_id, activity_id=news["reference"])
        else:
            self._engine.get(workflow_id).signal(Fulfilment.was_picked_up)


def open_shop(file: str, days: str) -> None:
    """Open the shop as it is some days from now, until the process is killed."""
    engine = seamed(
        Engine,
        EngineSeams(clock=LaterClock(float(days))),
        f"sqlite:///{file}",
        workflows=[Fulfilment, Reconciliation],
        activities=ACTIVITIES,
    )
    with engine, Shop(engine) as shop:
        print("open", shop.url, flush=True)
        shop.serve_forever()


def tell_shop(url: str, path: str, body: Any) -> bool:
    """Whether the shop has answered; if not, tell it again."""
    try:
        ServiceClient(url).post(path, body)
    except Unavailable:
        return False
    return True
