"""What every scene stands on: a temporary directory, child processes, kill -9, and facts that must be seen.

A scene is one file. Run without arguments it plays its story. For every process that the story needs it
runs itself again, with the name of a role: `python scene01_….py engine sqlite:////tmp/x/orders.db`.

A scene has a file of its own. With `--store postgresql://…` or `--store mysql://…` it is played on that database, which
must be empty.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from perdure.demo.processes import Process

# Scenes show a workflow's errors themselves; said a second time by the log they would only disturb the story.
logging.getLogger("perdure").addHandler(logging.NullHandler())

T = TypeVar("T")
Role = Callable[..., None]


class Stage:
    """Where a scene is played: its directory, its store, its child processes, and what was seen."""

    def __init__(self, script: Path, directory: Path, url: str = "") -> None:
        self.directory = directory
        self._url = url
        self._script = script
        self._children: list[Process] = []

    @property
    def url(self) -> str:
        """Of the scene's store."""
        return self.store("orders")

    def store(self, name: str) -> str:
        """The URL of a file of that name; or of the one database on which the scene is played."""
        return self._url or f"sqlite:///{self.directory}/{name}.db"

    def process(self, role: Role, *arguments: object, **environment: str) -> Process:
        """Run one of the scene's roles as a process of its own."""
        child = Process(str(self._script), role.__name__, *map(str, arguments), environment=environment)
        self._children.append(child)
        return child

    def end(self) -> None:
        for child in self._children:
            child.close()


def title(text: str) -> None:
    """The scene's name, underlined."""
    print(f"\n{text}\n{'=' * len(text)}")


def step(text: str) -> None:
    """What happens next."""
    print(f"\n• {text}")


def show(text: str) -> None:
    """Something to look at."""
    print(f"    {text}")


def seen(fact: str, is_true: bool) -> None:
    """The point of the scene. When it is not true the scene ends with exit code 1."""
    print(f"  {'✓' if is_true else '✗'} {fact}")
    if not is_true:
        sys.exit(1)


def until(look: Callable[[], T], timeout_s: float = 20.0) -> T:
    """Look until there is something (anything but false or empty), and return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing was seen for {timeout_s:.0f} s")
        time.sleep(0.02)
    return found


def play(script: str, story: Callable[[Stage], None], *roles: Role) -> None:
    """Play the story, or with arguments the role that they name."""
    store = sys.argv[2] if sys.argv[1:2] == ["--store"] else ""
    if len(sys.argv) > 1 and not store:
        role = next(role for role in roles if role.__name__ == sys.argv[1])
        return role(*sys.argv[2:])
    with tempfile.TemporaryDirectory(prefix="perdure-scene-") as directory:
        stage = Stage(Path(script), Path(directory), store)
        try:
            story(stage)
        finally:
            stage.end()
    return None
