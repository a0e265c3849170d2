"""What goes wrong in the engine: what a client is told of it, whether it may pass, when it is tried again, how often
the log repeats it.

One place for these questions, so that every loop answers them alike.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Container, Hashable
from typing import Generic, TypeVar

from perdure.api.errors import Rejected, StatusCode
from perdure.stores.api import Damaged, OutcomeUnknown, ReadsBusy, ReadTooLong, StoreError, Unstorable

_PASSING = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.ABORTED)
_STORE_IN_TROUBLE = "The store cannot serve now, and the server's log says why: try again later."
_OUTCOME_UNKNOWN = (
    "The store was lost while this was written, so whether it was done is not known: look, or repeat the same request."
)
_FAULT = "The engine failed at this, and the server's log says why; nothing was changed."
"""What a client in another process is told: a store's own words name files, an error's a line of code."""
_SHORTAGE = "The server is short of memory, threads or descriptors: try again, with less at a time."
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS)
_NO_THREAD = "can't start new thread"
"""What Python says when the system gives none."""
_TRACEBACK_EVERY_S = 60.0
_REASON_CHARACTERS = 1_000
_PLACES_MAX = 1_000
"""Faults that are told apart; more at a time are told without a traceback each."""


def is_passing(error: BaseException) -> bool:
    """Whether the same may work a moment later: the store, the machine or the target cannot take it just now."""
    if isinstance(error, Rejected):
        return error.code in _PASSING
    if isinstance(error, (Unstorable, Damaged, ReadTooLong)):
        return False
    return isinstance(error, (StoreError, OSError)) or is_shortage(error)


def is_shortage(error: BaseException) -> bool:
    """Whether the machine had no memory, thread or descriptor to give just then."""
    if isinstance(error, OSError):
        return error.errno in _SHORT_OF
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD)


def as_rejected(error: Exception, who: str = "The engine") -> Rejected:
    """What a client is told of an error that `who` raised.

    UNAVAILABLE what the store said and may pass, DEADLINE_EXCEEDED a read that takes too long, INVALID_ARGUMENT a
    value that cannot be stored, DATA_LOSS what is damaged, RESOURCE_EXHAUSTED a lack of memory, or of threads for such
    reads, INTERNAL all else, which is a bug.
    """
    if isinstance(error, Rejected):
        return error
    if isinstance(error, Unstorable):
        code, outside = (StatusCode.INVALID_ARGUMENT, "") if error.is_value else (StatusCode.INTERNAL, _FAULT)
        return Rejected(code, str(error), outside=outside)
    if isinstance(error, Damaged):
        return Rejected(StatusCode.DATA_LOSS, str(error))
    if isinstance(error, ReadTooLong):
        return Rejected(StatusCode.DEADLINE_EXCEEDED, str(error))
    if isinstance(error, ReadsBusy):
        return Rejected(StatusCode.RESOURCE_EXHAUSTED, str(error))
    if isinstance(error, StoreError):
        outside = _OUTCOME_UNKNOWN if isinstance(error, OutcomeUnknown) else _STORE_IN_TROUBLE
        return Rejected(StatusCode.UNAVAILABLE, str(error), outside=outside)
    if is_shortage(error):
        what = str(error) or "out of memory"
        text = f"{who} is short of memory, threads or descriptors ({what}): try again, with less at a time."
        return Rejected(StatusCode.RESOURCE_EXHAUSTED, text, outside=_SHORTAGE)
    return broken(f"{who} failed unexpectedly: {error!r}")


def stopping() -> Rejected:
    """UNAVAILABLE: what waits when the engine stops is told so, and whoever comes later."""
    return Rejected(StatusCode.UNAVAILABLE, "The engine is stopped or stopping: connect again and repeat the request.")


def broken(message: str) -> Rejected:
    """INTERNAL: a bug, of which a client in another process is told no more than that."""
    return Rejected(StatusCode.INTERNAL, message, outside=_FAULT)


def reason_of(error: BaseException) -> str:
    """An error as it is kept beside what it parked: text that can be stored, and not much of it."""
    told = isinstance(error, (StoreError, Rejected))
    text = str(error) if told else f"{type(error).__name__}: {error}"
    return text.encode("utf-8", "replace").decode()[:_REASON_CHARACTERS]


Key = TypeVar("Key", bound=Hashable)


class Setback:
    """What has happened to one thing that is to be tried again.

    Attributes:
        faults: how often in a row it failed by what does not pass by itself.
        pause_s: how long it rests after the newest failure, in seconds.
        again_at: when it may be tried again, by the clock of its `Setbacks`.
        failures: how often in a row it failed at all.
    """

    __slots__ = ("again_at", "failures", "faults", "pause_s")

    def __init__(self) -> None:
        self.failures = 0
        self.faults = 0
        self.pause_s = 0.0
        self.again_at = 0.0


class Setbacks(Generic[Key]):
    """The things that failed, each with a pause that doubles from `first_s` to `longest_s` before its next try.

    What failed by something that passes is tried again after `first_s` each time: it is not to blame. `clock` gives
    seconds and never jumps: a back-off is not a matter of the wall clock.
    """

    def __init__(self, first_s: float, longest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._clock = clock
        self._by_key: dict[Key, Setback] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, key: Key, error: BaseException | None = None) -> Setback:
        """The same failed once more; without an error, by what does not pass."""
        setback = self._by_key.setdefault(key, Setback())
        passes = error is not None and is_passing(error)
        doubled = min(max(self._first_s, 2 * setback.pause_s), self._longest_s)
        setback.pause_s = self._first_s if passes else doubled
        setback.again_at = self._clock() + setback.pause_s
        setback.failures += 1
        setback.faults = 0 if passes else setback.faults + 1
        return setback

    def rests(self, key: Key) -> bool:
        """Whether it failed, and is not to be tried yet."""
        setback = self._by_key.get(key)
        return setback is not None and self._clock() < setback.again_at

    def forget(self, key: Key) -> None:
        """The same went well, or is nobody's affair any more."""
        self._by_key.pop(key, None)

    def keep(self, keys: Container[Key]) -> None:
        """Forget all others."""
        self._by_key = {key: setback for key, setback in self._by_key.items() if key in keys}

    def rest_s(self) -> float | None:
        """Seconds until the first of them is to be tried again; None when there is none."""
        if not self._by_key:
            return None
        return max(0.0, min(setback.again_at for setback in self._by_key.values()) - self._clock())


class Faults:
    """Logs errors: the traceback when a fault is new or was not told of for a minute, otherwise a line.

    A fault is a type of error out of one line of code. `clock` gives seconds.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._told_at: dict[tuple[type[BaseException], str, int], float] = {}

    def tell(self, error: BaseException, text: str, *arguments: object) -> None:
        """Log `text % arguments` with the error behind it."""
        now, place = self._clock(), _place(error)
        told_at = self._told_at.get(place)
        if told_at is not None and now - told_at < _TRACEBACK_EVERY_S:
            self._log.error(f"{text}: %s: %s", *arguments, type(error).__name__, error)
            return
        if len(self._told_at) >= _PLACES_MAX:
            self._told_at.clear()
        self._told_at[place] = now
        self._log.error(text, *arguments, exc_info=error)


def _place(error: BaseException) -> tuple[type[BaseException], str, int]:
    """The line that raised; of an error with a cause, the line that raised the cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error), "", 0
    return type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno
