# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false
"""A program written for the version before: it uses every name that has another one now.

A line that must say so ends with the new name behind `now:`; no other line may say anything.
"""

from __future__ import annotations

from perdure import Engine, activity, call, workflow


@activity(start_to_close="30s")  # now: start_to_close_timeout=
def charge(order: str) -> str:
    return f"{order} charged"


@activity(schedule_to_close="1h", heartbeat="5s")  # now: schedule_to_close_timeout=, heartbeat_timeout=
async def ship(order: str) -> str:
    return f"{order} shipped"


@workflow
def sell(order: str) -> list[str]:
    charged = call(charge.options(schedule_to_start="1m"), order)  # now: schedule_to_start_timeout=
    return [charged, call(ship, order)]


def main() -> None:
    with Engine("memory://") as engine:
        assert engine.run(sell, "1", id="1") == ["1 charged", "1 shipped"]


if __name__ == "__main__":
    main()
