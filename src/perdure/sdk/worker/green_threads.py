"""gevent and eventlet: what they put in the place of threads cannot carry an engine, and it is said so at once.

Their `monkey.patch_all()` makes every thread a greenlet of one thread. An engine's loop, the threads of its workflows
and activities and the locks between them would then wait for each other for ever. Declaring workflows and activities
works all the same.
"""

from __future__ import annotations

import sys
from typing import Any

from perdure.sdk.errors import EngineError

_NEEDED = (("_thread", "start_new_thread"), ("queue", "SimpleQueue"), ("select", "select"))


def check_threads() -> None:
    """Raise EngineError if this process has no real threads, queues or selectors."""
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and any(gevent.is_object_patched(module, name) for module, name in _NEEDED):
        raise EngineError(
            "gevent has replaced this process's threads (gevent.monkey.patch_all()), and an engine needs real ones. "
            "Patch without them: monkey.patch_all(thread=False, queue=False, select=False). Or open the engine in "
            "another process; under gunicorn, use `-k gthread` instead of `-k gevent`."
        )
    eventlet: Any = sys.modules.get("eventlet.patcher")
    if eventlet is not None and any(eventlet.is_monkey_patched(module) for module in ("thread", "select")):
        raise EngineError(
            "eventlet has replaced this process's threads (eventlet.monkey_patch()), and an engine needs real ones. "
            "Patch without them: eventlet.monkey_patch(thread=False, select=False). Or open the engine in another "
            "process; under gunicorn, use `-k gthread` instead of `-k eventlet`."
        )
