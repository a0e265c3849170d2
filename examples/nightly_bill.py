"""A workflow that starts by the clock, also after this program was away.

Run it, stop it with Ctrl-C, wait a minute, run it again: the times that were missed are made up for, each once.

    python examples/nightly_bill.py            # until Ctrl-C
    perdure schedule list --store sqlite:///bills.db            # in another terminal, while it runs or later
"""

from __future__ import annotations

import sys
import time

from perdure import Engine, activity, call, workflow
from perdure.errors import ScheduleAlreadyExistsError
from perdure.schedules import Overlap


@activity(start_to_close_timeout="30s")
def send_bill(customer: str) -> str:
    return f"billed {customer}"


@workflow
def bill(customer: str) -> str:
    said = call(send_bill, customer)
    workflow.logger.info(said)
    return said


STORE = "sqlite:///bills.db"


def main(seconds: float) -> None:
    with Engine(STORE) as engine:
        try:
            engine.schedules.create(
                "nightly-bill",
                bill,
                "everybody",
                every="10s",  # for a look; in earnest: cron="0 2 * * *", time_zone="Europe/Berlin"
                overlap=Overlap.BUFFER_ALL,
                trigger=True,
            )
        except ScheduleAlreadyExistsError:
            print("the schedule is there from before, and has made up for what it missed")
        print("A bill every 10 seconds, until Ctrl-C. Meanwhile, in another terminal:", flush=True)
        for command in ("schedule list", "schedule describe nightly-bill", "workflow list"):
            print(f"    perdure {command} --store {STORE}", flush=True)
        seen: dict[str, str] = {}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(2.0, seconds))
            for run in engine.schedules.describe("nightly-bill").recent:
                if seen.get(run.workflow_id) != run.status.name:
                    seen[run.workflow_id] = run.status.name
                    print(f"{run.status.name:10} {run.workflow_id}", flush=True)


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0)
    except KeyboardInterrupt:
        print("stopped")
