"""An order: charge → reserve → ship → wait for the pickup → tell the customer.

What can be undone comes first, and is: the money goes back, the goods go back on the shelf. What cannot (a mail)
comes last, when nothing can fail any more. A customer who pays by transfer is waited for, for two weeks; the goods
are kept for one day of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from perdure import Retry, Saga, activity, call, start, workflow
from perdure.demo.services.client import INVENTORY_URL, PAYMENTS_URL, SHIPPING_URL, Refused, ServiceClient
from perdure.errors import ActivityError, ApplicationError, TimedOutError

HOLD = "1 day"
PAY_WITHIN = "14 days"
PICK_UP_WITHIN = "7 days"

PATIENTLY = Retry(initial_interval="1s", maximum_interval="10m")
WITH_A_CEILING = Retry(initial_interval="1s", maximum_interval="1h", maximum_attempts=12)


@dataclass(frozen=True)
class Order:
    """`account`: a card, charged at once, or one that begins with `iban`: a transfer."""

    id: str
    customer: str
    account: str
    items: dict[str, int]
    cents: int


@dataclass(frozen=True)
class Outcome:
    """`fulfilled` with the tracking number; else why not: declined, not_paid, out_of_stock, not_picked_up."""

    status: str
    detail: str


def _post(service: str, path: str, order: Order, key: str | None = None, **fields: Any) -> dict[str, Any]:
    """Call a service. What it refuses is not tried again; what it fails to answer is."""
    try:
        request = {"order_id": order.id, **fields}
        return ServiceClient(os.environ[service]).post(path, request, key or activity.info().idempotency_key)
    except Refused as refusal:
        raise ApplicationError(str(refusal), type=refusal.error, non_retryable=True) from refusal


# --- the steps, and what undoes them ---------------------------------------------------------------


@activity(start_to_close_timeout=PAY_WITHIN, schedule_to_close_timeout=PAY_WITHIN, retry=PATIENTLY)
def charge(order: Order) -> int:
    """The payment's number: at once, or when the bank says that the money has arrived."""
    reference = activity.info().activity_id
    answer = _post(PAYMENTS_URL, "/charge", order, account=order.account, amount_cents=order.cents, reference=reference)
    if answer["state"] == "pending":
        activity.raise_complete_async()  # the bank calls back: `engine.activities.complete(...)`
    return int(answer["payment_id"])


@activity(start_to_close_timeout="30s", retry=WITH_A_CEILING)
def refund(order: Order) -> int:
    """Under the order's own key: a person may have it tried again, and that is another call of this activity."""
    return int(_post(PAYMENTS_URL, "/refund", order, key=f"refund of order {order.id}")["refunded_cents"])


@activity(start_to_close_timeout="30s", retry=PATIENTLY)
def reserve(order: Order) -> int:
    return int(_post(INVENTORY_URL, "/reserve", order, items=order.items)["reserved"])


@activity(start_to_close_timeout="30s", retry=PATIENTLY)
def release(order: Order) -> int:
    return int(_post(INVENTORY_URL, "/release", order)["released"])


@activity(start_to_close_timeout="30s", retry=PATIENTLY)
def ship(order: Order) -> str:
    """To a locker near the customer. What nobody fetches the carrier brings back."""
    return str(_post(SHIPPING_URL, "/ship", order, customer=order.customer)["tracking"])


@activity(start_to_close_timeout="30s", retry=PATIENTLY)
def tell(order: Order, text: str) -> bool:
    return bool(_post(SHIPPING_URL, "/notify", order, customer=order.customer, text=text)["sent"])


# --- the workflow ----------------------------------------------------------------------------------


@workflow
class Fulfilment:
    def __init__(self, order: Order) -> None:
        self.status = "new"
        self.picked_up = False

    @workflow.run
    def run(self, order: Order) -> Outcome:
        try:
            with Saga() as saga:
                tracking = self.deliver(order, saga)
        except (ActivityError, ApplicationError) as error:
            self.status, detail = _reason(error)
            call(tell, order, f"We are sorry: {detail}. You owe us nothing.")
            return Outcome(self.status, detail)
        self.status = "fulfilled"
        call(tell, order, f"Thank you! {tracking} was picked up.")
        return Outcome(self.status, tracking)

    def deliver(self, order: Order, saga: Saga) -> str:
        saga.compensate(refund, order)  # before the step: it may have charged and failed to say so
        payment = start(charge, order)
        saga.compensate(release, order)
        call(reserve, order)
        self.status = "waiting for the money"
        if not workflow.wait_condition(payment.done, timeout=HOLD):
            call(release, order)  # somebody else may want it
            self.status = "waiting for the money, nothing is held"
            payment.result()
            call(reserve, order)
        payment.result()
        tracking = call(ship, order)
        self.status = f"{tracking} waits to be picked up"
        if not workflow.wait_condition(lambda: self.picked_up, timeout=PICK_UP_WITHIN):
            raise ApplicationError(f"nobody came for {tracking} within {PICK_UP_WITHIN}", type="not_picked_up")
        return tracking

    @workflow.signal
    def was_picked_up(self) -> None:
        self.picked_up = True

    @workflow.query
    def where(self) -> str:
        return self.status


def _reason(error: ActivityError | ApplicationError) -> tuple[str, str]:
    """What the customer is told; anything else is not for this workflow to explain away."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, TimedOutError):
        return "not_paid", f"no money came within {PAY_WITHIN}"
    if isinstance(cause, ApplicationError) and cause.type in ("declined", "out_of_stock", "not_picked_up"):
        return cause.type, cause.message
    raise error


ACTIVITIES = [charge, refund, reserve, release, ship, tell]
