"""`python -m benchmarks.steps`: how many bytecodes and C calls one order workflow takes, counted and not timed.

A machine that is busy, or slow today, changes every figure of time; what is executed is the same on each. So this is
what says whether a change costs anything on the hot path, and where. With a file of another checkout's counts
(`--save` there, `--beside` here) the differences are listed, by function.

With `--style server` the workflow comes through the official Python SDK, to a server in a thread of this process: that
thread, and those which it starts, are what is counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row

COUNT = 200
SERVER = "server"
Counts = dict[str, float]


def bytecodes(style: str, concurrency: int) -> Counts:
    """Bytecodes per workflow, by "file:function" (without its package: files move)."""
    executed: Counter[str] = Counter()
    window: list[bool] = []

    def begin(frame: FrameType, _event: str, _: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        name = _name(frame)

        def step(_frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
            if event == "opcode" and window:
                executed[name] += 1
            return step

        return step

    threading.settrace(begin)
    if style != SERVER:
        sys.settrace(begin)
    _run(style, concurrency, window)
    sys.settrace(None)
    threading.settrace(None)
    return {name: number / COUNT for name, number in executed.items()}


def calls_into_c(style: str, concurrency: int) -> Counts:
    """Calls into C per workflow, by the function that makes them."""
    calls: Counter[str] = Counter()
    window: list[bool] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "c_call" and window:
            calls[_name(frame)] += 1

    threading.setprofile(note)
    if style != SERVER:
        sys.setprofile(note)
    _run(style, concurrency, window)
    sys.setprofile(None)
    threading.setprofile(None)
    return {name: number / COUNT for name, number in calls.items()}


WHATS: dict[str, Callable[[str, int], Counts]] = {"bytecodes": bytecodes, "calls into C": calls_into_c}


def _name(frame: FrameType) -> str:
    module = str(frame.f_globals.get("__name__", "")).rpartition(".")[2]
    return f"{module}:{getattr(frame.f_code, 'co_qualname', frame.f_code.co_name)}"


def _run(style: str, concurrency: int, window: list[bool]) -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-steps-") as directory:
        if style == SERVER:
            _run_server(concurrency, directory, window)
        else:
            from benchmarks import perdure_order

            perdure_order.Stopwatch = _opening(window, perdure_order.Stopwatch)
            perdure_order.main(style, COUNT, concurrency, directory)


def _run_server(concurrency: int, directory: str, window: list[bool]) -> None:
    """The server in a thread that is traced as `threading` says now; the client here."""
    from benchmarks import server_load
    from perdure.cli.serving import uvloop
    from perdure.frontend.server.server import Server, ServerConfig
    from perdure.stores.open import open_store

    started: queue.Queue[tuple[str, Callable[[], object]]] = queue.Queue()

    async def serve() -> None:
        server = Server(open_store(f"sqlite:///{directory}/perdure.db"), ServerConfig("127.0.0.1:0", http_address=""))
        await server.start()
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        started.put((server.address, lambda: loop.call_soon_threadsafe(ended.set)))
        await ended.wait()
        await server.stop()

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop and uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    address, stop = started.get(timeout=60)
    none: Any = None
    threading.settrace(none)  # the client's threads come now
    threading.setprofile(none)
    server_load.ServerWatch = _opening(window, server_load.ServerWatch)
    asyncio.run(server_load.measure("server", address, COUNT, concurrency, os.getpid()))
    stop()
    thread.join()


def _opening(window: list[bool], watch: Any) -> Any:
    """The stopwatch, which opens the window after the warm-up: what happens once a process is not counted."""

    class Opening(watch):
        def start(self) -> None:
            super().start()
            window.append(True)

        def row(self, engine: str, concurrency: int, note: str) -> Row:
            window.clear()
            return super().row(engine, concurrency, note)

    return Opening


def _table(what: str, ours: Counts, theirs: Counts, lines: int) -> Table:
    table = Table(title=f"{what} of one order workflow")
    table.add_column("function")
    table.add_column(what, justify="right")
    table.add_column("more than beside" if theirs else "", justify="right")
    more = {name: ours.get(name, 0.0) - theirs.get(name, 0.0) for name in {*ours, *theirs}}
    for name in sorted(more, key=lambda name: -abs(more[name]))[:lines]:
        table.add_row(name, f"{ours.get(name, 0.0):.1f}", f"{more[name]:+.1f}" if theirs else "")
    total, other = sum(ours.values()), sum(theirs.values())
    table.add_section()
    table.add_row("all", f"{total:,.0f}", f"{total - other:+,.0f} ({total / other:.3f}×)" if theirs else "")
    return table


@click.command(help=__doc__)
@click.option("--style", type=click.Choice(["def", "async", SERVER]), default="async", show_default=True)
@click.option("--concurrency", default=50, show_default=True, help="Workflows in flight.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the counts here, as JSON.")
@click.option("--beside", type=click.Path(path_type=Path, exists=True), help="Saved counts: list what differs.")
@click.option("--lines", default=30, show_default=True, help="So many rows of each table.")
def main(style: str, concurrency: int, save: Path | None, beside: Path | None, lines: int) -> None:
    ours = {what: count(style, concurrency) for what, count in WHATS.items()}
    if save is not None:
        save.write_text(json.dumps(ours))
    theirs: dict[str, Counts] = json.loads(beside.read_text()) if beside is not None else {}
    for what, counts in ours.items():
        Console(width=120).print(_table(what, counts, theirs.get(what, {}), lines))
    sys.stdout.flush()
    os._exit(0)  # threads of the official SDK sometimes abort the interpreter on its way out


if __name__ == "__main__":
    main()
