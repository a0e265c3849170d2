"""Scene 06a: idempotency keys.

An activity charges the card and its process dies before the result is recorded. It must run again: nobody can
know that it had worked. The key that it gives the gateway is the same for every attempt, so it runs twice and takes
effect once.
"""

from __future__ import annotations

import os
import signal

from stage import Stage, play, seen, show, step, title

from perdure import Engine, Retry, activity, call, workflow
from perdure.demo.processes import start_service
from perdure.demo.services.client import ServiceClient


@activity(start_to_close_timeout="10s", retry=Retry(initial_interval="50ms"))
def charge(cents: int) -> int:
    info = activity.info()
    print(f"attempt {info.attempt} key {info.idempotency_key}", flush=True)
    request = {"order_id": "1001", "customer": "ada", "card": "tok_visa", "amount_cents": cents}
    receipt = ServiceClient(os.environ["GATEWAY"]).post("/charge", request, key=info.idempotency_key)
    if info.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # charged, and dead before anybody could write it down
    return int(receipt["charge_id"])


@workflow
def pay(cents: int) -> int:
    return call(charge, cents)


def engine(url: str) -> None:
    with Engine(url) as engine:
        print("charge", engine.run(pay, 4200, id="order-1001"), flush=True)


def story(stage: Stage) -> None:
    title("Scene 06a: idempotency keys")
    url = stage.url
    with start_service("payment_gateway", stage.directory / "payments.db") as gateway:
        step("the activity charges the card and dies before its result is recorded")
        first = stage.process(engine, url, GATEWAY=gateway.client.url)
        seen("its process was ended by SIGKILL", first.wait(30) == -signal.SIGKILL)
        show(first.lines[0])

        step("the engine is started again")
        second = stage.process(engine, url, GATEWAY=gateway.client.url)
        charge_id = second.wait_line("charge ")
        show(second.lines[0])
        keys = {line.split()[-1] for line in (first.lines[0], second.lines[0])}
        seen("the activity ran twice, attempts 1 and 2", second.lines[0].startswith("attempt 2 "))
        seen("both under the same key", len(keys) == 1)

        calls = gateway.client.get("/calls", order_id="1001")
        statement = gateway.client.get("/statement", customer="ada")
        show(f"the gateway was called {calls['calls']} times; its statement: ${statement['total_cents'] / 100:.2f}")
        seen("the gateway was called twice and charged once", (calls["calls"], len(statement["lines"])) == (2, 1))
        seen("and the workflow has the receipt", charge_id == str(statement["lines"][0]["id"]))


if __name__ == "__main__":
    play(__file__, story, engine)
