"""What a library may ask of the loop that carries an `async def` workflow, and what it is told of the rest.

asyncio, and libraries above it such as anyio, ask a loop for more than `call_soon` and `call_later`: whether it is in
debug mode, which task factory it has, who is told of errors. Each method of AbstractEventLoop either does here what
replay can repeat, or raises DeterminismViolation with the line and what to use instead; none is left to
AbstractEventLoop's bare NotImplementedError.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, NoReturn, cast

from perdure.sdk.errors import DeterminismViolation, EngineError
from perdure.sdk.guard.talkers import TALKERS
from perdure.sdk.guard.whose import root_of, users_frame
from perdure.sdk.replay.entry import site_text
from perdure.sdk.replay.running import current

ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

_logger = logging.getLogger("asyncio")

_OF_FINALIZERS = ("exception was never retrieved", "was destroyed but it is pending!")
"""How messages end that asyncio reports when a future or task is freed. That is whenever the garbage collector comes
by, which is not deterministic, and the error is in history in any case."""


class LoopSurface(asyncio.AbstractEventLoop):
    """What asyncio may ask of a loop that does no I/O."""

    _exception_handler: ExceptionHandler | None = None

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Nothing: debug mode measures how long callbacks take, and warns of what the machine refuses anyhow."""

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    def set_task_factory(self, factory: Any) -> None:
        if factory is not None:
            _refuse("set_task_factory", "asyncio.create_task: tasks of another kind would run in another order")

    def get_exception_handler(self) -> ExceptionHandler | None:
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        if handler is not None and not callable(handler):
            raise TypeError(f"a callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log it as asyncio does, though not again in replay."""
        if current("asyncio").replaying:
            return
        message = context.get("message") or "Unhandled exception in event loop"
        _logger.error("%s", message, exc_info=context.get("exception"))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell the handler that was set, or log: except for what is reported when a future or task is freed."""
        if str(context.get("message", "")).endswith(_OF_FINALIZERS):
            return
        if self._exception_handler is None:
            self.default_exception_handler(context)
        else:
            self._exception_handler(self, context)

    async def shutdown_asyncgens(self) -> None:
        """Nothing: what a run leaves behind is freed with the run."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing: there is none."""


_ACTIVITY = "an activity"
_THREAD = "an activity: a plain `def` one runs in a thread"
_END = "return from the workflow's function, which ends it"
_REFUSED: Final[dict[str, str]] = {
    "add_reader": _ACTIVITY,
    "add_signal_handler": "a signal of the workflow",
    "add_writer": _ACTIVITY,
    "close": _END,
    "connect_accepted_socket": _ACTIVITY,
    "connect_read_pipe": _ACTIVITY,
    "connect_write_pipe": _ACTIVITY,
    "create_connection": _ACTIVITY,
    "create_datagram_endpoint": _ACTIVITY,
    "create_server": _ACTIVITY,
    "create_unix_connection": _ACTIVITY,
    "create_unix_server": _ACTIVITY,
    "getaddrinfo": _ACTIVITY,
    "getnameinfo": _ACTIVITY,
    "remove_reader": _ACTIVITY,
    "remove_signal_handler": "a signal of the workflow",
    "remove_writer": _ACTIVITY,
    "run_forever": "await",
    "run_in_executor": _THREAD,
    "run_until_complete": "await",
    "sendfile": _ACTIVITY,
    "set_default_executor": _THREAD,
    "sock_accept": _ACTIVITY,
    "sock_connect": _ACTIVITY,
    "sock_recv": _ACTIVITY,
    "sock_recv_into": _ACTIVITY,
    "sock_recvfrom": _ACTIVITY,
    "sock_recvfrom_into": _ACTIVITY,
    "sock_sendall": _ACTIVITY,
    "sock_sendfile": _ACTIVITY,
    "sock_sendto": _ACTIVITY,
    "start_tls": _ACTIVITY,
    "stop": _END,
    "subprocess_exec": _ACTIVITY,
    "subprocess_shell": _ACTIVITY,
}


def _users_line() -> str:
    frame = users_frame(sys._getframe(1))  # pyright: ignore[reportPrivateUsage] - inspect's way costs 100 times more
    return site_text(None if frame is None else (frame.f_code, frame.f_lineno))


def _refuse(name: str, instead: str) -> NoReturn:
    error = DeterminismViolation(
        f"workflow code asks its event loop for {name}, at {_users_line()}: replay could not repeat it; use {instead}"
    )
    current("asyncio").violation = error
    raise error


def _refuser(name: str, instead: str) -> Callable[..., NoReturn]:
    what = f"I/O ({name}, as to_thread, open_connection and their like do)" if instead in (_ACTIVITY, _THREAD) else name

    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        _refuse(what, instead)

    refuse.__name__ = name
    return refuse


for _name, _instead in _REFUSED.items():
    setattr(LoopSurface, _name, _refuser(_name, _instead))

_no_executor: Callable[..., NoReturn] = cast(Any, LoopSurface).run_in_executor


def _run_in_executor(self: LoopSurface, executor: Any = None, func: Any = None, *args: Any) -> asyncio.Future[Any]:
    """Refused, but to logging libraries: what they say in a thread elsewhere they say here and now."""
    if root_of(sys._getframe(1)) not in TALKERS:  # pyright: ignore[reportPrivateUsage] - inspect's way costs 100 times more
        _no_executor()
    future = self.create_future()
    future.set_result(func(*args))
    return future


setattr(LoopSurface, "run_in_executor", _run_in_executor)


class _NoLoop(LoopSurface):
    """The loop of handles in `def` workflows."""

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        raise EngineError("callbacks of a handle are for `async def` workflows; in a `def` workflow use result()")


NO_LOOP: Final = _NoLoop()
