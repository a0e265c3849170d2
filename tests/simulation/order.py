"""The order workflow of the README, against the simulated world."""

from __future__ import annotations

from perdure.sdk.activity import activity
from perdure.sdk.options import Retry
from perdure.sdk.workflow.workflow import call, workflow
from tests.simulation.programs import Act, Program
from tests.simulation.world import stage

RETRY = Retry(initial_interval="1s", maximum_interval="10s")


def _serve(what: str) -> str:
    info, act = activity.info(), Act(what, "def")
    stage.world.ask(info.run_id, info.activity_id, info.idempotency_key, act)
    stage.world.effect(info.idempotency_key, act)
    return f"{what} done"


@activity(start_to_close_timeout="30s", retry=RETRY)
def charge_payment(order: int) -> str:
    return _serve("charge")


@activity(start_to_close_timeout="30s", retry=RETRY)
def reserve_inventory(order: int) -> str:
    return _serve("reserve")


@activity(start_to_close_timeout="30s", retry=RETRY)
def create_shipment(order: int) -> str:
    return _serve("ship")


@activity(start_to_close_timeout="30s", retry=RETRY)
def send_notification(order: int, tracking: str) -> str:
    return _serve("notify")


ORDER_ACTIVITIES = (charge_payment, reserve_inventory, create_shipment, send_notification)


@workflow
def fulfill_order(program: Program) -> list[str]:
    """Four activities, one after the other."""
    charged = call(charge_payment, program.seed)
    reserved = call(reserve_inventory, program.seed)
    tracking = call(create_shipment, program.seed)
    notified = call(send_notification, program.seed, tracking)
    return [charged, reserved, tracking, notified]
