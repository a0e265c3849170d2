"""A worker by itself that its test tells to end.

    python -m tests.far.worker_process URL HOW TASK_QUEUE

HOW: "blocking" or "async". Its activity says that it runs, and ends when it is told to by a line.
"""

from __future__ import annotations

import asyncio
import sys

from perdure import AsyncClient, AsyncWorker, Worker, activity, call, workflow


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - that is how its test hears it


@activity(name="alone.step", start_to_close_timeout="5m")
def step() -> str:
    say("runs")
    sys.stdin.readline()
    say("ended")
    return "done"


@workflow(name="alone.stepping")
def stepping() -> str:
    return call(step)


async def work(url: str, task_queue: str) -> None:
    async with await AsyncClient.connect(url) as client:
        await AsyncWorker(client, task_queue=task_queue, workflows=[stepping], activities=[step]).run()


def main(url: str, how: str, task_queue: str) -> None:
    if how == "async":
        asyncio.run(work(url, task_queue))
    else:
        Worker.connect(url, task_queue=task_queue, workflows=[stepping], activities=[step]).run()
    say("behind")


if __name__ == "__main__":
    main(*sys.argv[1:])
