"""The statements of the MySQL store: one file each, named by its verb, commented in SQL."""

from __future__ import annotations

from importlib.resources import files


def query(name: str) -> str:
    """The statement in `name.sql`, without its comments. Raises FileNotFoundError when there is none."""
    text = files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))
