"""Fulfilling an order: four steps outside this process, in order, and the money back when the second fails.

The activities are ordinary functions. `cron_job.py` calls them as such; the workflow below calls them through
the engine. The one thing that differs is what `_key()` has to offer: an engine knows which call this is,
however often it is attempted, and a plain function does not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from perdure import Retry, activity, call, workflow
from perdure.demo.orders import Order, Outcome
from perdure.demo.services.client import INVENTORY_URL, PAYMENTS_URL, SHIPPING_URL, Refused, ServiceClient
from perdure.errors import ActivityError, ApplicationError, EngineError

PACKING_TIME = "300ms"

PATIENTLY = Retry(initial_interval="200ms", maximum_interval="2s", jitter=0.2)


@dataclass(frozen=True)
class Receipt:
    """What the gateway gives for a charge."""

    charge_id: int
    amount_cents: int


def _key() -> str | None:
    try:
        return activity.info().idempotency_key
    except EngineError:  # called as a plain function
        return None


def _post(service: str, path: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Call a service. What it refuses is not tried again; what it fails to answer is."""
    try:
        return ServiceClient(os.environ[service]).post(path, payload, key=_key())
    except Refused as refusal:
        raise ApplicationError(str(refusal), type=refusal.error, non_retryable=True) from refusal


@activity(name="ChargeCard", start_to_close_timeout="15s", retry=PATIENTLY)
def charge_card(order: Order) -> Receipt:
    request = {
        "order_id": order.order_id,
        "customer": order.customer,
        "card": order.card,
        "amount_cents": order.amount_cents,
    }
    return Receipt(**_post(PAYMENTS_URL, "/charge", request))


@activity(name="ReserveInventory", start_to_close_timeout="15s", retry=PATIENTLY)
def reserve_inventory(order: Order) -> int:
    return _post(INVENTORY_URL, "/reserve", {"order_id": order.order_id, "items": order.items})["reserved"]


@activity(name="RefundCharge", start_to_close_timeout="15s", retry=PATIENTLY)
def refund_charge(order: Order, receipt: Receipt) -> int:
    return _post(PAYMENTS_URL, "/refund", {"order_id": order.order_id, "charge_id": receipt.charge_id})["refund_id"]


@activity(name="CreateShipment", start_to_close_timeout="15s", retry=PATIENTLY)
def create_shipment(order: Order) -> str:
    return _post(SHIPPING_URL, "/ship", {"order_id": order.order_id, "customer": order.customer})["tracking"]


@activity(name="SendNotification", start_to_close_timeout="15s", retry=PATIENTLY)
def send_notification(order: Order, text: str) -> bool:
    return _post(SHIPPING_URL, "/notify", {"order_id": order.order_id, "customer": order.customer, "text": text})[
        "sent"
    ]


@workflow(name="FulfillOrder")
def fulfill_order(order: Order) -> Outcome:
    try:
        receipt = call(charge_card, order)
    except ActivityError as error:
        return Outcome("declined", _reason(error))
    try:
        call(reserve_inventory, order)
    except ActivityError as error:
        call(refund_charge, order, receipt)
        call(send_notification, order, "We are sorry: your money is on its way back.")
        return Outcome("out_of_stock", _reason(error))
    workflow.sleep(PACKING_TIME)
    tracking = call(create_shipment, order)
    call(send_notification, order, f"On its way: {tracking}")
    return Outcome("fulfilled", tracking)


def _reason(error: ActivityError) -> str:
    """The refusal itself; anything else is not for this workflow to explain away."""
    if not isinstance(error.cause, ApplicationError) or error.cause.type not in ("card_declined", "out_of_stock"):
        raise error
    return error.cause.message
