"""Scene 06: retries and exponential back-off.

The payment gateway is a process of its own, and sick. Attempts come at widening gaps up to a maximum, until it
recovers; with a limit they end in an error; what is refused for good is tried once; and jitter keeps a crowd from
coming back all at once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import pairwise

from stage import Stage, play, seen, show, step, title, until

from perdure import Engine, Retry, activity, call, workflow
from perdure.demo.processes import start_service
from perdure.demo.services.client import Refused, ServiceClient
from perdure.errors import ActivityError, ApplicationError

attempts: dict[str, list[float]] = defaultdict(list)  # when each order's charge was attempted
gateway = ServiceClient("")


@activity(
    start_to_close_timeout="5s", retry=Retry(initial_interval="100ms", backoff_coefficient=2, maximum_interval="400ms")
)
def charge(order_id: str, card: str) -> int:
    attempts[order_id].append(time.monotonic())
    request = {"order_id": order_id, "customer": "ada", "card": card, "amount_cents": 4200}
    try:
        return int(gateway.post("/charge", request, activity.info().idempotency_key)["charge_id"])
    except Refused as refusal:
        raise ApplicationError(str(refusal), type=refusal.error, non_retryable=True) from refusal


@workflow
def pay(order_id: str, card: str) -> str:
    return f"charge {call(charge, order_id, card)}"


@workflow
def pay_impatiently(order_id: str, card: str) -> str:
    three_times = charge.options(retry=Retry(initial_interval="20ms", maximum_attempts=3))
    try:
        return f"charge {call(three_times, order_id, card)}"
    except ActivityError as error:
        return str(error)


@workflow
def pay_with_jitter(order_id: str, card: str) -> str:
    spread_out = charge.options(retry=Retry(initial_interval="400ms", jitter=0.5))
    return f"charge {call(spread_out, order_id, card)}"


def gaps(order_id: str) -> list[int]:
    """Milliseconds between an order's attempts."""
    at = attempts[order_id]
    return [round((later - earlier) * 1000) for earlier, later in pairwise(at)]


def story(stage: Stage) -> None:
    global gateway
    title("Scene 06: retries and exponential back-off")
    with (
        start_service("payment_gateway", stage.directory / "payments.db") as service,
        Engine(stage.url) as engine,
    ):
        gateway = service.client

        step("the gateway is down for five calls; intervals from 100 ms, doubling, at most 400 ms")
        gateway.arm("down", calls=5)
        result = engine.run(pay, "1001", "tok_visa", id="order-1001")
        show(f"gaps between attempts: {gaps('1001')} ms, then: {result}")
        wanted = [100, 200, 400, 400, 400]
        longer = [gap - whole > -5 for gap, whole in zip(gaps("1001"), wanted, strict=True)]
        seen("the gaps widen, up to the maximum", all(longer))
        seen("it recovered, and the sixth attempt went through", result == "charge 1" and len(attempts["1001"]) == 6)

        step("the gateway is down for longer than three attempts")
        gateway.arm("down")
        result = engine.run(pay_impatiently, "1002", "tok_visa", id="order-1002")
        show(result)
        seen("after three attempts the workflow is told why", len(attempts["1002"]) == 3 and "503" in result)
        gateway.heal()

        step("the card is declined: trying again would be useless")
        result = engine.run(pay_impatiently, "1003", "tok_declined_1", id="order-1003")
        show(result)
        seen("one attempt, no more", len(attempts["1003"]) == 1 and "card_declined" in result)

        step("twenty orders fail at the same time; half of their back-off is jitter")
        crowd = [str(number) for number in range(2001, 2021)]
        gateway.arm("down")
        handles = [engine.start(pay_with_jitter, order_id, "tok_visa", id=f"order-{order_id}") for order_id in crowd]
        until(lambda: all(attempts[order_id] for order_id in crowd))
        gateway.heal()
        for handle in handles:
            handle.result()
        back_off = sorted(gaps(order_id)[0] for order_id in crowd)
        show(f"they come back after {back_off[0]} to {back_off[-1]} ms")
        seen("they come back spread out, not all at once", back_off[-1] - back_off[0] > 50)


if __name__ == "__main__":
    play(__file__, story)
