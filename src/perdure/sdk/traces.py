"""Stack traces as text, for people who look for a line of their own.

Frames of this package say nothing about a user's mistake and are left out, unless nothing else
would remain. Nothing here raises: source files may be gone, and loaders have code of their own.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import cast

from perdure.api.failures import STACK_TRACE_MAX
from perdure.sdk.texts import class_name, sendable

FRAMES_MAX = 200
"""The innermost frames that are looked at."""

_HERE = str(PurePath(__file__).parent.parent / "_").removesuffix("_")
_NOT_OURS = str(PurePath(_HERE, "demo", "_")).removesuffix("_")
"""Code as a user would write it."""
_traceback_of = BaseException.__dict__["__traceback__"].__get__
"""The true one: a class may have a property of that name."""


def stack_trace(error: BaseException, limit: int = STACK_TRACE_MAX) -> str:
    """Where an error was raised, the innermost line last; "" if it was not raised. At most `limit` characters."""
    return trace_text(cast("TracebackType | None", _traceback_of(error)), limit)


def trace_text(trace: TracebackType | None, limit: int = STACK_TRACE_MAX) -> str:
    """As `stack_trace`, of a traceback."""
    try:
        return _text(traceback.extract_tb(trace, -FRAMES_MAX), limit)
    except BaseException as problem:  # of a loader's code, or of a line that is no text: the numbers must do
        return _plain_text(trace, limit, problem)


def stack_text(frame: FrameType, limit: int = STACK_TRACE_MAX) -> str:
    """Where a thread stands, the innermost line last, without what started the thread."""
    places = [place for place in traceback.walk_stack(frame) if place[0].f_globals.get("__name__") != "threading"]
    return _text(traceback.StackSummary.extract(reversed(places[:FRAMES_MAX])), limit)


def keep_theirs(error: BaseException) -> None:
    """Take the frames of this package out of an exception's traceback, and out of those of its causes."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = _theirs(_traceback_of(link))
        link = link.__cause__ or link.__context__


def cause_of(error: BaseException) -> BaseException | None:
    """What another error is raised `from` when this one led to it: None when no frame in it is the user's.

    Of what this package alone had to do with, the text has said all that there is, and the stack says nothing.
    """
    return None if _theirs(_traceback_of(error)) is None else error


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    frames: list[TracebackType] = []
    while trace is not None:
        if not _is_ours(trace.tb_frame.f_code.co_filename):
            frames.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for place in reversed(frames):
        kept = TracebackType(kept, place.tb_frame, place.tb_lasti, place.tb_lineno)
    return kept


def _text(summaries: Iterable[traceback.FrameSummary], limit: int) -> str:
    frames = list(summaries)
    theirs = [frame for frame in frames if not _is_ours(frame.filename)]
    return _last(sendable("".join(traceback.StackSummary.from_list(theirs or frames).format())), limit)


def _plain_text(trace: TracebackType | None, limit: int, problem: BaseException) -> str:
    lines: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}\n')
        trace = trace.tb_next
        del lines[:-FRAMES_MAX]
    lines.insert(0, f"(without source text: {class_name(problem)})\n")
    return _last(sendable("".join(lines)), limit)


def _is_ours(filename: str) -> bool:
    return filename.startswith(_HERE) and not filename.startswith(_NOT_OURS)


def _last(text: str, limit: int) -> str:
    return text if len(text) <= limit else "…" + text[len(text) - limit + 1 :]
