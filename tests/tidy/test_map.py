"""The map in docs/ARCHITECTURE.md is the tree: no room without a line, no line without a room."""

from __future__ import annotations

import re
from pathlib import Path

from tests.tidy.files import python_files, text_of, tracked
from tests.tidy.rules import FILE_LINES_MAX

SRC = Path("src/perdure")
LONG = FILE_LINES_MAX - 50
"""More lines than this are a smell: the file is about to be cut where the cap falls, not where its meaning changes."""

LONG_FILES = {
    "src/perdure/engine/deciding/mailboxes.py": "the one place where turns begin, are decided, written and told",
    "src/perdure/engine/records/schedules.py": "the shell of one entity; its law is core/schedule",
    "src/perdure/sdk/declare/definitions.py": "a definition that is a method leaves the registry: they know each other",
}
"""Those that are, each with what holds it together."""


def rooms_of_the_map() -> list[tuple[str, str]]:
    """Room and description, in the order of the table."""
    table = text_of(Path("docs/ARCHITECTURE.md")).partition("### Every room")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+?)/?` \| (.+) \|$", table, re.MULTILINE)


def test_every_room_is_on_the_map_and_every_room_of_the_map_is_there() -> None:
    rooms = [room for room, _ in rooms_of_the_map()]
    tree = {path.parent.relative_to(SRC).as_posix() for path in tracked() if path.is_relative_to(SRC)}
    assert len(rooms) == len(set(rooms)), "a room is on the map twice"
    assert set(rooms) == tree


def test_long_files_are_known_and_argued() -> None:
    long = {path.as_posix() for path in python_files("src") if text_of(path).count("\n") > LONG}
    assert long == LONG_FILES.keys(), "cut it where its meaning changes, or say here what holds it together"
