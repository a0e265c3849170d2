"""Scene 01: the crash that charges you twice.

A plain function and cron charge ORDER #1001 ($42) twice, because it was killed right after ChargeCard.
The same steps on the engine, killed at the same moment, charge it once and finish.
"""

from __future__ import annotations

import os
from pathlib import Path

from stage import Stage, play, seen, show, step, title

from perdure import Engine, Retry, activity, call, workflow
from perdure.demo.processes import Process, Service, start_service, wait_until
from perdure.demo.services.client import ServiceClient
from perdure.errors import EngineError

# --- the order's steps: plain functions that are activities, too ---------------------------------


@activity(name="ChargeCard", start_to_close_timeout="10s", retry=Retry(initial_interval="100ms"))
def charge_card(order_id: str, cents: int) -> int:
    try:
        key = activity.info().idempotency_key  # the same for every attempt of this call
    except EngineError:
        key = None  # a plain function does not know that it is being run again
    charge = {"order_id": order_id, "customer": "ada", "card": "tok_visa_4242", "amount_cents": cents}
    return int(ServiceClient(os.environ["GATEWAY"]).post("/charge", charge, key)["charge_id"])


@activity(name="ShipOrder", start_to_close_timeout="10s")
def ship_order(order_id: str) -> str:
    return f"PD-{order_id}"


# --- once as a cron job, once as a workflow ------------------------------------------------------


def cron_job(done: str) -> None:
    if not Path(done).exists():
        charge_card("1001", 4200)
        ship_order("1001")
        Path(done).write_text("order 1001 is done")


@workflow
def fulfill_order(order_id: str, cents: int) -> str:
    call(charge_card, order_id, cents)
    return call(ship_order, order_id)


def engine(url: str) -> None:
    with Engine(url) as engine:
        print("tracking", engine.run(fulfill_order, "1001", 4200, id="order-1001"), flush=True)


# --- the story -----------------------------------------------------------------------------------


def die_right_after_the_charge(gateway: Service, victim: Process) -> None:
    wait_until(lambda: gateway.client.held() == 1, "the gateway has charged")
    victim.kill_9()
    gateway.client.heal()
    show(f"kill -9 {victim.pid}: the gateway has charged, nobody took note of it")


def charged(gateway: Service) -> int:
    return int(gateway.client.get("/statement", customer="ada")["total_cents"])


def story(stage: Stage) -> None:
    title("Scene 01: the crash that charges you twice")

    step("cron runs the plain function, which is killed right after ChargeCard; cron runs it again")
    with start_service("payment_gateway", stage.directory / "plain.db") as gateway:
        where, done = {"GATEWAY": gateway.client.url}, stage.directory / "done"
        gateway.client.arm("hold_answer", "/charge", calls=1, seconds=60)
        die_right_after_the_charge(gateway, stage.process(cron_job, done, **where))
        stage.process(cron_job, done, **where).wait(30)
        show(f"the gateway's statement: ${charged(gateway) / 100:.2f}")
        seen("without the engine: charged twice, $84.00", charged(gateway) == 8400)

    step("the same steps on the engine, killed at the same moment, started again on the same file")
    with start_service("payment_gateway", stage.directory / "durable.db") as gateway:
        where, url = {"GATEWAY": gateway.client.url}, stage.url
        gateway.client.arm("hold_answer", "/charge", calls=1, seconds=60)
        die_right_after_the_charge(gateway, stage.process(engine, url, **where))
        tracking = stage.process(engine, url, **where).wait_line("tracking ")
        show(f"the order finishes with {tracking}; the gateway's statement: ${charged(gateway) / 100:.2f}")
        seen("with the engine: finished", tracking == "PD-1001")
        seen("with the engine: charged once, $42.00", charged(gateway) == 4200)


if __name__ == "__main__":
    play(__file__, story, cron_job, engine)
