"""The alert of an intervention: a command, a web hook, a function, or a line in the log."""

from __future__ import annotations

import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from perdure import ApplicationError, Engine, Retry, Saga, activity, workflow
from perdure.errors import DefinitionError
from perdure.interventions import Intervention
from tests.eventually import eventually

ONCE = Retry(maximum_attempts=1)


@activity(name="alerts.undo", retry=ONCE)
def undo() -> None:
    raise ApplicationError("refunds are down")


@workflow(name="alerts.order")
def order() -> None:
    with Saga() as saga:
        saga.compensate(undo)
        raise ApplicationError("no carrier")


def wait_until_closed(engine: Engine) -> Intervention:
    """Skip the entry once somebody was told, which the end of the run waits for."""
    handle = engine.start(order, id="o")
    entries = eventually(engine.interventions.list, "it waits for a person")
    engine.interventions.skip(entries[0], who="Ada", why="a test")
    with pytest.raises(Exception, match="no carrier"):
        handle.result(timeout="30s")
    return entries[0]


def test_a_function_is_told_once_and_before_the_run_closes() -> None:
    told: list[Intervention] = []
    with Engine("memory://", workflows=[order], activities=[undo], alert=told.append) as engine:
        entry = wait_until_closed(engine)
        assert told == [entry]


def test_a_command_gets_the_entry_on_its_standard_input_and_is_tried_again(tmp_path: Path) -> None:
    script = tmp_path / "pager.py"
    script.write_text(
        "import pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "if not (folder / 'first').exists():\n"
        "    (folder / 'first').touch()\n"
        "    sys.exit('the pager is engaged')\n"
        "(folder / 'entry.json').write_text(sys.stdin.read())\n"
    )
    with Engine("memory://", workflows=[order], alert=f"{sys.executable} {script} {tmp_path}") as engine:
        entry = wait_until_closed(engine)
    told = json.loads((tmp_path / "entry.json").read_text())
    assert (told["id"], told["step"], told["error"]) == (entry.id, "alerts.undo", "refunds are down")


class Hook(BaseHTTPRequestHandler):
    """Refuses the first request."""

    seen: list[Any]

    def do_POST(self) -> None:
        self.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(503 if len(self.seen) == 1 else 204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_a_url_is_posted_to_until_it_takes_it() -> None:
    Hook.seen = []
    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with Engine("memory://", workflows=[order], alert=f"http://127.0.0.1:{server.server_port}/pager") as engine:
            entry = wait_until_closed(engine)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert [told["id"] for told in Hook.seen] == [entry.id, entry.id]


def test_without_one_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with Engine("memory://", workflows=[order], activities=[undo]) as engine, caplog.at_level(logging.WARNING):
        entry = wait_until_closed(engine)
    lines = [record.getMessage() for record in caplog.records if record.name == "perdure.interventions"]
    assert len(lines) == 1
    assert entry.id in lines[0] and "alerts.undo of workflow 'o'" in lines[0]


@pytest.mark.parametrize("hook", [7, "", "   "])
def test_what_is_no_hook_is_refused(hook: Any) -> None:
    with pytest.raises(DefinitionError, match="alert must be a command line"):
        Engine("memory://", alert=hook)
