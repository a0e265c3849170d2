"""What the demo looks like: a story in colours on a terminal, the same story as plain text in a file.

Nothing but words goes to a pipe: rich leaves the escape codes out by itself, and the progress bar becomes a
line for every tenth of the way.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from perdure.api.digest import EventLine
from perdure.demo.audit import Check
from perdure.demo.orders import money

MACHINERY = ("WorkflowTask",)
"""Events that are the engine's own bookkeeping: shown faintly."""


class Screen:
    """Everything the demo prints goes through here."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    def act(self, number: int, title: str, *text: str) -> None:
        """A new act: a rule with its title, and what it is about."""
        self.console.print()
        self.console.print(Rule(Text(f" Act {number}: {title} ", style="bold"), style="cyan", align="left"))
        self.console.print()
        self.say(" ".join(text))
        self.console.print()
        self._began = time.monotonic()

    def happens(self, who: str, what: str, style: str = "") -> None:
        """A line of the story: when (seconds since the act began), who, what."""
        line = Text.assemble((f"{time.monotonic() - self._began:6.2f} s  ", "dim"), (f"{who:<9}", "bold"))
        indent = len(line)
        words = textwrap.wrap(what, max(20, self.console.width - indent))
        line.append(f"\n{' ' * indent}".join(words), style=style)
        self.console.print(line)

    def kill(self, pid: int, why: str) -> None:
        """The line of a SIGKILL."""
        self.happens("kill -9", f"process {pid}, {why}", "bold red")

    def space(self) -> None:
        self.console.print()

    def say(self, text: str, style: str = "") -> None:
        """A sentence between things."""
        for line in textwrap.wrap(text, self.console.width - 2):
            self.console.print(Text("  ").append(line, style=style))

    def statement(self, title: str, statement: Mapping[str, object], *, right: bool) -> None:
        """A customer's statement as the gateway tells it."""
        style = "green" if right else "red"
        table = Table(box=box.ROUNDED, border_style=style)
        for name, justify in (("#", "right"), ("what", "left"), ("order", "left"), ("amount", "right")):
            table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
        lines: Sequence[Mapping[str, object]] = statement["lines"]  # pyright: ignore[reportAssignmentType]
        for line in lines:
            table.add_row(str(line["id"]), str(line["kind"]), f"#{line['order_id']}", _dollars(line["amount_cents"]))
        table.add_section()
        table.add_row(
            "", Text("total", style="bold"), "", Text(_dollars(statement["total_cents"]), style=f"bold {style}")
        )
        self._print_table(title, table)
        self.console.print()

    def strip(self, title: str, lines: Sequence[EventLine], *, new_after: int = 0, handed_back: bool = False) -> None:
        """The event history as the strip on disk. Events past `new_after` are marked as new."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("#", justify="right", style="dim", no_wrap=True)
        table.add_column("event", no_wrap=True)
        table.add_column("of", style="cyan", no_wrap=True)
        table.add_column("what", no_wrap=True)
        taken = sum(max((len(getattr(line, name)) for line in lines), default=0) for name in ("name", "subject"))
        room = max(16, self.console.width - taken - 16)
        for line in lines:
            new = line.event_id > new_after
            machinery = line.name.startswith(MACHINERY)
            given = handed_back and not new and not machinery and line.name.endswith(("Completed", "Fired"))
            name = Text(line.name, style="bold" if new and not machinery else "")
            detail = Text(_short(line.detail, room), style="green" if given else "")
            table.add_row(str(line.event_id), name, line.subject, detail, style="dim" if machinery else "")
        self._print_table(title, table)

    def table(self, title: str, rows: Sequence[tuple[str, str]], *, style: str = "cyan") -> None:
        """Names and figures."""
        table = Table(
            box=box.ROUNDED,
            border_style=style,
            show_header=False,
        )
        table.add_column()
        table.add_column(justify="right", no_wrap=True)
        for name, figure in rows:
            table.add_row(name, figure)
        self._print_table(title, table)

    def checks(self, title: str, checks: Sequence[Check]) -> None:
        """The audit's questions and answers."""
        right = not any(check.problems for check in checks)
        border = "green" if right else "red"
        table = Table(box=box.ROUNDED, border_style=border)
        table.add_column("check")
        table.add_column("looked at", justify="right", no_wrap=True)
        table.add_column("wrong", justify="right", no_wrap=True)
        for check in checks:
            wrong = Text(str(len(check.problems)), style="bold red" if check.problems else "green")
            table.add_row(check.name, f"{check.looked_at:,}", wrong)
        self._print_table(title, table)

    def verdict(self, right: bool, *lines: str) -> None:
        """The last word, in a frame."""
        style = "green" if right else "red"
        text = Group(*(Text(line, style=f"bold {style}" if index == 0 else "") for index, line in enumerate(lines)))
        self.console.print()
        self.console.print(Padding(Panel.fit(text, border_style=style, padding=(0, 2)), (0, 0, 0, 2), expand=False))
        self.console.print()

    def _print_table(self, title: str, table: Table) -> None:
        self.console.print()
        self.say(title, "bold")
        self.console.print(Padding(table, (0, 0, 0, 2), expand=False))

    @contextmanager
    def storm(self, orders: int, kills: int) -> Generator[Storm, None, None]:
        """The progress of Act 3."""
        storm = _Bar(self.console, orders, kills) if self.console.is_terminal else _Lines(self.console, orders, kills)
        with storm:
            yield storm


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _dollars(cents: object) -> str:
    assert isinstance(cents, int)
    return money(cents)


class Storm:
    """Told how many orders are finished and how many kills there were; shows it."""

    def __init__(self, console: Console, orders: int, kills: int) -> None:
        self.console = console
        self.orders = orders
        self.kills = kills

    def show(self, finished: int, killed: int) -> None:
        """Orders finished and kills so far."""
        raise NotImplementedError

    def __enter__(self) -> Storm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class _Bar(Storm):
    def __init__(self, console: Console, orders: int, kills: int) -> None:
        super().__init__(console, orders, kills)
        self._progress = Progress(
            TextColumn("  orders"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("[bold red]kill -9[/] {task.fields[killed]}/{task.fields[kills]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: TaskID = self._progress.add_task("orders", total=orders, killed=0, kills=kills)

    def show(self, finished: int, killed: int) -> None:
        self._progress.update(self._task, completed=finished, killed=killed)

    def __enter__(self) -> Storm:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()


class _Lines(Storm):
    def __init__(self, console: Console, orders: int, kills: int) -> None:
        super().__init__(console, orders, kills)
        self._tenths = 0

    def show(self, finished: int, killed: int) -> None:
        tenths = finished * 10 // self.orders
        if tenths > self._tenths:
            self._tenths = tenths
            self.console.print(
                f"  {finished:5d} of {self.orders} orders finished, killed {killed} of {self.kills} times"
            )
