"""How commands speak: tables for people, JSON for programs, one sentence when something is wrong."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from perdure.stores.api import StoreError

PIPED_WIDTH = 110
"""Columns when nobody looks: wide enough for a table, narrow enough for a log."""


def console(*, no_color: bool = False) -> Console:
    """Standard output as rich sees it: no escape codes when it is not a terminal, nor with NO_COLOR."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(no_color=no_color or None, highlight=False, width=width)


def say(text: str, style: str | None = None) -> None:
    """One line as it is: a path that is longer than the terminal is wide stays whole."""
    console().print(text, markup=False, soft_wrap=True, style=style)


def print_json(value: Any) -> None:
    """One JSON document."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


@contextmanager
def plain_errors(*others: type[Exception]) -> Generator[None, None, None]:
    """What a store refuses, and `others`, become one sentence on standard error and exit code 1."""
    try:
        yield
    except (StoreError, *others) as error:
        raise click.ClickException(str(error)) from error
