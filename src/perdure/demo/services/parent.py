"""No process of the demo outlives the one that started it, however that one ended."""

from __future__ import annotations

import os
import threading

STDIN = 0


def leave_with_parent() -> None:
    """End this process as soon as its standard input closes, which is what happens when the parent is gone."""
    threading.Thread(target=_wait, name="leave-with-parent", daemon=True).start()


def _wait() -> None:
    # Not through sys.stdin: its lock, held by a waiting thread, would be fatal when the process ends on its own.
    while os.read(STDIN, 4096):
        pass
    os._exit(0)
