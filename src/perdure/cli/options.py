"""What commands have in common: where the workflows are, and names that are nearly right."""

from __future__ import annotations

import difflib
from typing import Any

import click

store_option = click.option(
    "--store",
    "store_url",
    required=True,
    metavar="URL",
    envvar="PERDURE_STORE",
    show_envvar=True,
    help="sqlite:///orders.db, a database (postgresql://, mysql://), or a server: grpc://host:7233, grpcs:// with TLS.",
)
database_option = click.option(
    "--store",
    "store_url",
    required=True,
    metavar="URL",
    envvar="PERDURE_STORE",
    show_envvar=True,
    help="The store: sqlite:///orders.db, postgresql://user@host/orders or mysql://user@host/orders.",
)
"""Of commands that read what is stored, of whatever kind."""
file_option = click.option(
    "--store",
    "store_url",
    required=True,
    metavar="URL",
    envvar="PERDURE_STORE",
    show_envvar=True,
    help="The store's file, such as sqlite:///orders.db.",
)
"""Of commands on files alone."""
namespace_option = click.option("--namespace", default="default", show_default=True, help="Where the workflows live.")
run_option = click.option("--run-id", help="A run other than the newest of its workflow id.")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")

OTHER_WORDS = {
    "activities": "activity",
    "delete": "terminate",
    "desc": "describe",
    "events": "history",
    "find": "list",
    "get": "describe",
    "info": "describe",
    "kill": "terminate",
    "log": "history",
    "logs": "history",
    "ls": "list",
    "ps": "list",
    "query": "list",
    "resume": "unpause",
    "schedules": "schedule",
    "search": "list",
    "send": "signal",
    "serve": "server",
    "show": "history",
    "start": "trigger",
    "status": "describe",
    "stop": "cancel",
    "verify": "check",
    "workflows": "workflow",
}
"""What other tools call it."""


class Group(click.Group):
    """A group of commands that answers an unknown name with those that may have been meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it. Raises UsageError that names the commands there are."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if not args or args[0].startswith("-"):
                raise
            raise click.UsageError(self._unknown(args[0], ctx), ctx) from error

    def _unknown(self, name: str, ctx: click.Context) -> str:
        known = self.list_commands(ctx)
        near = [OTHER_WORDS[name]] if OTHER_WORDS.get(name) in known else difflib.get_close_matches(name, known)
        if near:
            return f"No such command {name!r}. Did you mean {' or '.join(repr(one) for one in near)}?"
        return f"No such command {name!r}. There are: {', '.join(known)}."


def group(**options: Any) -> Any:
    """`click.group` of that class."""
    return click.group(cls=Group, **options)
