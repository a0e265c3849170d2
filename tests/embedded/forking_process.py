"""python -m tests.embedded.forking_process PATH: an engine that a fork carries into a child, as `--preload` does.

Says what the child was told when it used its parent's engine, and what it got by one of its own; then what the parent's
engine gave behind that.
"""

from __future__ import annotations

import os
import sys

from perdure import Engine, activity, call, workflow
from perdure.errors import EngineError


@activity
def add_one(number: int) -> int:
    return number + 1


@workflow
def adding(number: int) -> int:
    return call(add_one, number)


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def in_child(carried: Engine, url: str) -> None:
    try:
        carried.start(adding, 1)
    except EngineError as error:
        say(error)
    with Engine(url) as engine:
        say(engine.run(adding, 2, id="child"))


def main(url: str) -> None:
    with Engine(url) as engine:
        child = os.fork()
        if not child:
            in_child(engine, url)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        say(engine.run(adding, 3, id="parent"))


if __name__ == "__main__":
    main(f"sqlite:///{sys.argv[1]}")
