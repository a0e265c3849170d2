"""A worker that its test tells to end.

    python -m tests.embedded.forever_process DATABASE HOW GRACE

HOW: "blocking" or "async". It starts a workflow of two activities. The first says that it runs, and ends when it is
told to by a line, or asked to stop. What is said, is said on the standard output.
"""

from __future__ import annotations

import asyncio
import sys
import threading

from perdure import Engine, activity, call, workflow

told = threading.Event()


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - that is how its test hears it


@activity(name="forever.first")
def first() -> str:
    say("runs")
    while not told.is_set():
        if activity.wait_for_cancelled_sync("10ms"):
            say("stopped")
            activity.heartbeat()  # raises
    say("ended")
    return "first"


@activity(name="forever.second")
def second() -> str:
    say("second")
    return "second"


@workflow(name="forever.both")
def both() -> list[str]:
    return [call(first), call(second)]


def listen() -> None:
    if sys.stdin.readline():
        told.set()


async def serve(engine: Engine) -> None:
    async with engine as opened:
        await opened.start(both, id="both")
        await opened.run_forever()


def main(database: str, how: str, grace: str) -> None:
    threading.Thread(target=listen, daemon=True).start()
    engine = Engine(f"sqlite:///{database}", shutdown_grace=grace)
    if how == "async":
        asyncio.run(serve(engine))
    else:
        with engine:
            engine.start(both, id="both")
            engine.run_forever()
    say("behind")


if __name__ == "__main__":
    main(*sys.argv[1:])
