"""What a benchmark looks at behind the public interface."""

from __future__ import annotations

from typing import Any

from perdure import AsyncEngine
from perdure.frontend.near import Near


def store_of(engine: AsyncEngine) -> Any:
    """The store of an engine in this process."""
    home = engine._home
    if not isinstance(home, Near):
        raise TypeError(f"{engine.url} is not in this process")
    return home.store
