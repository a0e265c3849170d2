"""The log of a server: time and level on every line, and an end to what one line of code says."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from perdure.cli import logs

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (WARNING|ERROR|INFO) perdure\.test: ")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: str, level: str = "info") -> tuple[io.StringIO, logging.Logger]:
    stream = io.StringIO()
    logs.set_up(level, form, stream)
    return stream, logging.getLogger("perdure.test")


def test_a_line_begins_with_time_level_and_logger(root: logging.Logger) -> None:
    stream, log = written("text")
    log.warning("%r fell", "the sky")
    log.debug("nobody hears it")
    [line] = stream.getvalue().splitlines()
    assert LINE.match(line)
    assert line.endswith(" WARNING perdure.test: 'the sky' fell")


def test_a_traceback_follows(root: logging.Logger) -> None:
    stream, log = written("text")
    try:
        raise ZeroDivisionError("no")
    except ZeroDivisionError:
        log.exception("it broke")
    lines = stream.getvalue().splitlines()
    assert LINE.match(lines[0])
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ZeroDivisionError: no"


def test_json_is_an_object_for_each_line(root: logging.Logger) -> None:
    stream, log = written("json")
    log.warning("two\nlines")
    try:
        raise ZeroDivisionError("no")
    except ZeroDivisionError:
        log.exception("it broke")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.keys() == {"time", "level", "logger", "message"}
    assert (first["level"], first["logger"], first["message"]) == ("warning", "perdure.test", "two\nlines")
    assert second["exception"].endswith("ZeroDivisionError: no")


def test_the_level_is_kept_to(root: logging.Logger) -> None:
    stream, log = written("text", "error")
    log.warning("no")
    log.error("yes")
    assert stream.getvalue().endswith("ERROR perdure.test: yes\n")
    assert stream.getvalue().count("\n") == 1


def test_what_one_line_of_code_says_again_and_again_is_left_out_and_counted() -> None:
    limit = logs.RateLimit(clock := Clock())

    def record(line: int) -> logging.LogRecord:
        return logging.LogRecord("perdure.test", logging.ERROR, "x.py", line, "it broke", None, None)

    passed = [limit.filter(record(1)) for _ in range(logs.IN_A_WINDOW + 25)]
    assert passed == [True] * logs.IN_A_WINDOW + [False] * 25
    assert limit.filter(record(2)), "another line of code has a share of its own"
    clock.now += logs.WINDOW_S
    again = record(1)
    assert limit.filter(again)
    line = logs.TextFormatter().format(again)
    assert line.endswith("it broke [25 more like the one before were left out]")
    following = record(1)
    assert limit.filter(following)
    assert "left out" not in logs.TextFormatter().format(following)


def test_it_does_not_remember_places_without_end() -> None:
    limit = logs.RateLimit(Clock())
    for line in range(5_000):
        limit.filter(logging.LogRecord("perdure.test", logging.ERROR, "x.py", line, "", None, None))
    assert len(limit._windows) <= 1_000


@pytest.mark.usefixtures("root")
def test_a_line_of_one_process_of_several_says_of_which() -> None:
    text, json_lines = io.StringIO(), io.StringIO()
    logs.set_up("info", "text", text, process=2)
    logging.getLogger("perdure.test").info("hello")
    logs.set_up("info", "json", json_lines, process=2)
    logging.getLogger("perdure.test").info("hello")
    assert text.getvalue().endswith("Z INFO [2] perdure.test: hello\n")
    assert json.loads(json_lines.getvalue())["process"] == 2
