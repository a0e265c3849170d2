"""What a benchmark looks at behind the public interface."""

from __future__ import annotations

from typing import Any

from perdure import AsyncEngine
from perdure.embedded.shared_file import SharedFile
from perdure.frontend.near import Near


def store_of(engine: AsyncEngine) -> Any:
    """The store of an engine in this process."""
    home = engine._home
    near = home.near if isinstance(home, SharedFile) else home
    if not isinstance(near, Near):
        raise TypeError(f"{engine.url} is not in this process")
    return near.store
