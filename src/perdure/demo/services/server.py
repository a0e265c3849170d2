"""What every service is made of: actions on a ledger, views of it, faults, HTTP around them.

POST on an action's path performs it; GET on a view's path shows it. `POST /admin/faults` arms a `Fault`,
`DELETE /admin/faults` heals, `GET /admin/faults` tells how many calls are being held.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from perdure.demo.services.faults import Fault, Faults
from perdure.demo.services.ledger import Answer, Call, Ledger, now_ns
from perdure.demo.services.parent import leave_with_parent

IDEMPOTENCY_KEY = "Idempotency-Key"
CALLER = "X-Caller"

View = Callable[[sqlite3.Connection, Mapping[str, str]], dict[str, Any]]


class OrderRequest(msgspec.Struct, frozen=True):
    """What every action is told at least."""

    order_id: str


@dataclass(frozen=True)
class Action:
    """A request type and what is done with it inside the ledger's transaction."""

    request: type[OrderRequest]
    perform: Callable[[sqlite3.Connection, Any], Answer]


@dataclass(frozen=True)
class Definition:
    """A service: its name, its tables, what it does and what it shows."""

    name: str
    schema: str
    actions: Mapping[str, Action]
    views: Mapping[str, View]


class ServiceServer(ThreadingHTTPServer):
    """Listens on loopback; a thread per connection."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, definition: Definition, ledger: Ledger, port: int) -> None:
        self.definition = definition
        self.ledger = ledger
        self.faults = Faults()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that vanished in mid-call is an everyday matter here; anything else is told on stderr."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ServiceServer  # pyright: ignore[reportIncompatibleVariableOverride]
    wbufsize = -1  # one write per answer
    timeout = 120

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        if target.path == "/admin/faults":
            return self._send(Answer(200, {"held": self.server.faults.held}))
        view = self.server.definition.views.get(target.path)
        if view is None:
            return self._send(_not_found(target.path))
        query = {name: values[-1] for name, values in parse_qs(target.query).items()}
        self._send(Answer(200, self.server.ledger.read(lambda db: view(db, query))))

    def do_DELETE(self) -> None:
        if self.path != "/admin/faults":
            return self._send(_not_found(self.path))
        self.server.faults.heal()
        self._send(Answer(200, {}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.path == "/admin/faults":
                self.server.faults.arm(msgspec.json.decode(body, type=Fault))
                return self._send(Answer(200, {}))
            action = self.server.definition.actions.get(self.path)
            if action is None:
                return self._send(_not_found(self.path))
            request = msgspec.json.decode(body, type=action.request)
        except msgspec.MsgspecError as error:
            return self._send(Answer(400, {"error": "bad_request", "message": str(error)}))
        self._perform(action, request)

    def _perform(self, action: Action, request: OrderRequest) -> None:
        at_ns = now_ns()
        if not self._ready_to_act():
            return
        key = self.headers.get(IDEMPOTENCY_KEY)
        call = Call(at_ns, self.headers.get(CALLER, ""), self.path, request.order_id, key)
        answer = self.server.ledger.record(call, lambda db: action.perform(db, request))
        if self._may_answer():
            self._send(answer)

    def _ready_to_act(self) -> bool:
        """Suffer the fault drawn for before the action; False: the call goes no further."""
        fault = self.server.faults.draw(self.path, before=True)
        if fault is None:
            return True
        if fault.kind == "down":
            self._send(Answer(503, {"error": "unavailable", "message": f"{self.server.definition.name} is down"}))
            return False
        self.server.faults.hold(fault.seconds)
        return not self._caller_gone()

    def _may_answer(self) -> bool:
        """Suffer the fault drawn for after the action; False: no answer goes out."""
        fault = self.server.faults.draw(self.path, before=False)
        if fault is None:
            return True
        if fault.kind == "die_after":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind == "hang_up_after":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return False
        self.server.faults.hold(fault.seconds)
        return not self._caller_gone()

    def _caller_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _send(self, answer: Answer) -> None:
        body = msgspec.json.encode(answer.body)
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The ledger is the log."""


def _not_found(path: str) -> Answer:
    return Answer(404, {"error": "not_found", "message": f"nothing is served at {path}"})


def serve(definition: Definition, arguments: list[str] | None = None) -> None:
    """Run the service as this process: print `ready URL` once it can be called, serve until told to stop."""
    parser = argparse.ArgumentParser(description=f"the demo's {definition.name}, HTTP on loopback")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--ledger", type=Path, required=True, help="the SQLite file of its ledger")
    parser.add_argument("--leave-with-parent", action="store_true", help="stop when standard input closes")
    options = parser.parse_args(arguments)
    server = ServiceServer(definition, Ledger(options.ledger, definition.schema), options.port)
    if options.leave_with_parent:
        leave_with_parent()
    print(f"ready {server.url}", flush=True)
    try:
        server.serve_forever(poll_interval=60)
    except KeyboardInterrupt:
        pass  # Ctrl-C is how a person stops a service
