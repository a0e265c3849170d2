"""Writes docs/temporal-api.md: every RPC of Temporal's API, and whether this server has it.

    python scripts/api_table.py    (make api)

Made from the service descriptors of `temporalio.api` and the objects that serve, so it cannot say more
than there is. `tests/docs` makes it once more and compares.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from perdure.frontend.rpcs import SERVICES, Rpc, rpcs
from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.memory import MemoryStore

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "temporal-api.md"

HEAD = """\
# Temporal's API, RPC by RPC

Made by `make api` from the service descriptors of `temporalio.api` ({count} RPCs) and the objects that serve them;
checked by the tests. What is not implemented answers `UNIMPLEMENTED` with its name. Where an RPC that is implemented
behaves differently on purpose stands in [differences.md](differences.md).
"""


def about(rpc: Rpc) -> str:
    """What a handler says of itself: the first sentence of its docstring, the RPC's name left out."""
    text = inspect.getdoc(rpc.handler) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split()).partition(" Raises ")[0]
    paragraph = paragraph.removeprefix(f"{rpc.service.rpartition('.')[2]}.").removeprefix(rpc.name).lstrip(":,;. ")
    paragraph = paragraph[:1].lower() + paragraph[1:]
    return paragraph.replace("|", "\\|")


def lines() -> Iterator[str]:
    """The document."""
    yield HEAD.format(count=sum(len(descriptor.methods) for descriptor in SERVICES.values()))
    served = list(rpcs(Server(MemoryStore(), ServerConfig(time_skipping=True)).services()))
    for service in SERVICES:
        own = [rpc for rpc in served if rpc.service == service]
        there = [rpc for rpc in own if rpc.handler is not None]
        yield f"## {service}\n"
        yield f"{len(there)} of {len(own)}.\n"
        if service.endswith("TestService"):
            yield "Served by `perdure-test-server` alone.\n"
        yield "| RPC | | |"
        yield "|---|---|---|"
        for rpc in own:
            state = "yes" if rpc.handler is not None else "no"
            yield f"| {rpc.name} | {state} | {about(rpc) if rpc.handler is not None else ''} |"
        yield ""


def document() -> str:
    """The whole text."""
    return "\n".join(lines()).rstrip() + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(DOCUMENT.relative_to(ROOT))
