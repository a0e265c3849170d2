"""Random exceptions that somebody's code might raise, and codecs that fail, all of a number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import Any

from temporalio.api.common.v1 import Payload

from perdure.sdk import errors
from perdure.sdk.convert import Converter

Made = BaseException
LEAVES_MAX = 12


class Color(Enum):
    RED = 1


class Word(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("a word without a word")

    def __len__(self) -> int:
        raise RuntimeError("a word without a length")


class RaisingText(Exception):
    def __str__(self) -> str:
        raise self.args[0]

    __repr__ = __str__


class NoText(Exception):
    def __str__(self) -> Any:
        return 5

    def __repr__(self) -> Any:
        return None


class Endless(Exception):
    def __str__(self) -> str:
        return str(self)


class OwnInit(Exception):
    def __init__(self, *, code: object) -> None:
        self.code = code


class Forgetful(errors.ApplicationError):
    """Does not call `super().__init__`."""

    def __init__(self, text: object) -> None:
        pass


class Liar(Exception):
    @property
    def __class__(self) -> Any:
        raise OSError("no class")


class Closed(errors.ApplicationError):
    """Whatever it is asked for raises."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)

    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)


class Meta(type):
    @property
    def __name__(cls) -> Any:
        raise OSError("no name")


class Nameless(Exception, metaclass=Meta):
    pass


class Masked(Exception):
    __cause__ = property(lambda self: 1 / 0)  # pyright: ignore
    __traceback__ = property(lambda self: 1 / 0)  # pyright: ignore
    __context__ = property(lambda self: self)  # pyright: ignore
    __notes__ = property(lambda self: 1 / 0)  # pyright: ignore


class Broken:
    """A value that has no bytes, no text, and no equal."""

    def __str__(self) -> str:
        raise OSError("no text")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise OSError("no equal")

    __hash__ = None  # pyright: ignore[reportAssignmentType]


class Codec:
    """Fails now and then."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice

    def encode(self, payloads: Sequence[Payload]) -> Any:
        return self._maybe(payloads)

    def decode(self, payloads: Sequence[Payload]) -> Any:
        return self._maybe(payloads)

    def _maybe(self, payloads: Sequence[Payload]) -> Any:
        match self._dice.randrange(6):
            case 0:
                raise ConnectionError("the key service is down \ud800")
            case 1:
                raise RaisingText(OSError("x"))
            case 2:
                return [None]
            case 3:
                return payloads[1:]
            case _:
                return payloads


def a_converter(dice: Random) -> Converter:
    """Mostly a plain one."""
    codec: Any = Codec(dice) if dice.random() < 0.3 else None
    return Converter(codec, limit_bytes=dice.choice((200, 1_000, 2 << 20, 2 << 20)))


def an_exception(dice: Random, depth: int = 0) -> BaseException:
    """With causes, contexts, members, notes; some of them raised."""
    error = _one(dice, depth)
    for name, likely in (("__cause__", 0.3), ("__context__", 0.2)):
        if dice.random() < likely and depth < 4:
            _set(error, name, error if dice.random() < 0.05 else an_exception(dice, depth + 1))
    if dice.random() < 0.2:
        _set(error, "__suppress_context__", dice.choice((True, False)))
    if dice.random() < 0.2:
        _set(error, "__notes__", dice.choice(([a_value(dice) for _ in range(dice.randrange(4))], "a note", 5, ("x",))))
    return _raised(dice, error) if dice.random() < 0.3 else error


def _set(error: BaseException, name: str, value: object) -> None:
    try:
        setattr(error, name, value)
    except (AttributeError, TypeError, LookupError):
        return  # one of those that do not let anybody


def _raised(dice: Random, error: BaseException) -> BaseException:
    deep = dice.choice((0, 1, 5, 300))

    def dive(left: int) -> None:
        if left:
            dive(left - 1)
        raise error

    try:
        dive(deep)
    except BaseException as caught:
        return caught
    raise AssertionError("not reached")


def _one(dice: Random, depth: int) -> BaseException:
    text = a_text(dice)
    makers: list[Callable[[], BaseException]] = [
        lambda: ValueError(text),
        lambda: KeyError(a_value(dice)),
        lambda: Exception(*(a_value(dice) for _ in range(dice.randrange(4)))),
        lambda: dice.choice((SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, MemoryError))(text),
        lambda: RaisingText(dice.choice((OSError("x"), SystemExit(3), KeyboardInterrupt(), MemoryError()))),
        NoText,
        lambda: Endless(text),
        lambda: OwnInit(code=a_value(dice)),
        lambda: Forgetful(a_value(dice)),
        lambda: Liar(text),
        lambda: Closed(text),
        lambda: Nameless(text),
        lambda: Masked(text),
        lambda: _of_a_named_class(dice, text),
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, text),
        lambda: OSError(2, text, "caf\udce9.csv"),
        lambda: _a_failure_error(dice),
        lambda: _spoiled(dice, _a_failure_error(dice)),
        lambda: _a_group(dice, depth),
    ]
    return dice.choice(makers)()


def _of_a_named_class(dice: Random, text: str) -> BaseException:
    name = a_text(dice)[:50].encode("utf-8", "replace").decode().replace("\0", "")
    base: type[Any] = dice.choice((Exception, errors.ApplicationError))
    made: Any = type(name, (base,), {})
    return made(text)


def _a_failure_error(dice: Random) -> errors.FailureError:
    text, details = a_text(dice), [a_value(dice) for _ in range(dice.randrange(3))]
    makers: list[Callable[[], errors.FailureError]] = [
        lambda: errors.ApplicationError(
            text,
            type=a_text(dice),
            non_retryable=dice.random() < 0.5,
            next_retry_delay=dice.choice((None, 0, 5)),
            details=details,
        ),
        lambda: errors.CancelledError(text, details=details),
        lambda: errors.TimedOutError(text, last_heartbeat_details=details, timeout_type=errors.TimeoutType.HEARTBEAT),
        lambda: errors.TerminatedError(text, details=details),
        lambda: errors.ServerError(text, non_retryable=True),
        lambda: errors.ActivityError(text, activity_type=a_text(dice), activity_id=a_text(dice), identity=text),
        lambda: errors.ChildWorkflowError(text, workflow_type=text, workflow_id=a_text(dice), run_id=text),
        lambda: errors.FailureError(text),
    ]
    return dice.choice(makers)()


def _spoiled(dice: Random, error: errors.FailureError) -> errors.FailureError:
    """Somebody put something else where a value of the right type was."""
    for name in list(vars(error)):
        if dice.random() < 0.5:
            error.__dict__[name] = a_value(dice)
    return error


def _a_group(dice: Random, depth: int) -> BaseException:
    members = [an_exception(dice, depth + 1) for _ in range(1 + dice.randrange(3))] if depth < 3 else [OSError("leaf")]
    members *= dice.choice((1, 1, 1, 30))
    return BaseExceptionGroup(a_text(dice), members)


def a_text(dice: Random) -> str:
    return dice.choice(
        (
            "out of stock",
            "",
            " \n ",
            "caf\udce9.csv",
            "\ud800\udc00\udfff",
            "nul \0 byte",
            "ünïcödé 😀",
            "x" * dice.randrange(30_000),
            "\udce9" * 12_000,
            Word("subclass \udce9"),
        )
    )


def a_value(dice: Random) -> Any:
    return dice.choice(
        (
            None,
            5,
            10**5000,
            float("nan"),
            b"bytes",
            object(),
            Broken(),
            Color.RED,
            Color,
            ValueError("an error as a value"),
            {"reason": "limit"},
            {Broken: 1},
            [Broken()],
            {1: "a", "1": "b"},
            lambda: None,
            a_text(dice),
            "y" * 3_000,
        )
    )
