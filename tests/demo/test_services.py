"""The demo's services, each as the process that it is: what they record, what they repeat, how they misbehave."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from perdure.demo.processes import Service, Town, start_service, wait_until
from perdure.demo.services.client import Refused, ServiceClient, Unavailable
from perdure.demo.services.ledger import first_call_at_ns, open_for_reading

CHARGE = {"order_id": "1001", "customer": "ada", "card": "tok_visa_4242", "amount_cents": 4200}

StartService = Callable[[str], Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartService]:
    """Starts services; ends them with the test."""
    started: list[Service] = []

    def start_one(name: str) -> Service:
        started.append(start_service(name, tmp_path / f"{name}.db"))
        return started[-1]

    yield start_one
    for service in started:
        service.process.close()


@pytest.fixture
def gateway(start: StartService) -> Service:
    return start("payment_gateway")


def total(client: ServiceClient) -> int:
    return client.get("/statement", customer="ada")["total_cents"]


def test_without_a_key_every_call_charges(gateway: Service) -> None:
    first = gateway.client.post("/charge", CHARGE)
    second = gateway.client.post("/charge", CHARGE)
    assert first["charge_id"] != second["charge_id"]
    assert total(gateway.client) == 8400


def test_with_a_key_the_first_answer_is_given_again(gateway: Service) -> None:
    first = gateway.client.post("/charge", CHARGE, key="run:5")
    assert gateway.client.post("/charge", CHARGE, key="run:5") == first
    assert total(gateway.client) == 4200
    assert gateway.client.get("/calls", order_id="1001") == {"calls": 2, "repeated": 1}


def test_a_key_outlives_the_service(gateway: Service, start: StartService) -> None:
    first = gateway.client.post("/charge", CHARGE, key="run:5")
    gateway.process.kill_9()
    again = start("payment_gateway")
    assert again.client.post("/charge", CHARGE, key="run:5") == first
    assert total(again.client) == 4200


def test_simultaneous_calls_with_one_key_charge_once(gateway: Service) -> None:
    callers = [threading.Thread(target=gateway.client.post, args=("/charge", CHARGE, "run:5")) for _ in range(12)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert total(gateway.client) == 4200
    assert gateway.client.get("/calls", order_id="1001") == {"calls": 12, "repeated": 11}


def test_a_declined_card_is_refused_and_stays_refused(gateway: Service) -> None:
    bad = {**CHARGE, "card": "tok_declined_1"}
    for _ in range(2):
        with pytest.raises(Refused, match="tok_declined_1 was declined") as refusal:
            gateway.client.post("/charge", bad, key="run:5")
        assert refusal.value.error == "card_declined"
    assert total(gateway.client) == 0


def test_a_refund_takes_the_charge_back(gateway: Service) -> None:
    charge_id = gateway.client.post("/charge", CHARGE)["charge_id"]
    gateway.client.post("/refund", {"order_id": "1001", "charge_id": charge_id}, key="run:9")
    gateway.client.post("/refund", {"order_id": "1001", "charge_id": charge_id}, key="run:9")
    assert total(gateway.client) == 0
    lines = gateway.client.get("/statement", customer="ada")["lines"]
    assert [(line["kind"], line["amount_cents"]) for line in lines] == [("charge", 4200), ("refund", -4200)]


def test_a_refund_of_nothing_is_refused(gateway: Service) -> None:
    with pytest.raises(Refused, match="there is no charge 7"):
        gateway.client.post("/refund", {"order_id": "1001", "charge_id": 7})


@pytest.mark.parametrize(
    ("path", "payload", "why"),
    [
        ("/charge", {"order_id": "1001"}, "missing required field `customer`"),
        ("/charge", {**CHARGE, "amount_cents": "42"}, "Expected `int`, got `str`"),
        ("/charge", {**CHARGE, "amount_cents": 0}, "an amount must be positive"),
        ("/chargeback", CHARGE, "nothing is served at /chargeback"),
        ("/admin/faults", {"kind": "grumpy"}, "Invalid enum value 'grumpy'"),
    ],
)
def test_bad_requests_are_told_why(gateway: Service, path: str, payload: dict[str, object], why: str) -> None:
    with pytest.raises(Refused, match=why):
        gateway.client.post(path, payload)
    assert total(gateway.client) == 0


def test_down_for_the_next_calls_then_up(gateway: Service) -> None:
    gateway.client.arm("down", "/charge", calls=2)
    for _ in range(2):
        with pytest.raises(Unavailable, match="503: payment gateway is down"):
            gateway.client.post("/charge", CHARGE, key="run:5")
    gateway.client.post("/charge", CHARGE, key="run:5")
    assert total(gateway.client) == 4200


def test_hanging_up_after_the_charge_leaves_the_charge(gateway: Service) -> None:
    gateway.client.arm("hang_up_after", "/charge", calls=1)
    with pytest.raises(Unavailable, match="no answer from"):
        gateway.client.post("/charge", CHARGE, key="run:5")
    assert total(gateway.client) == 4200
    gateway.client.post("/charge", CHARGE, key="run:5")
    assert total(gateway.client) == 4200


def test_dying_after_the_charge_leaves_the_charge_in_the_file(gateway: Service) -> None:
    gateway.client.arm("die_after", calls=1)
    with pytest.raises(Unavailable):
        gateway.client.post("/charge", CHARGE, key="run:5")
    assert gateway.process.wait(10) == -signal.SIGKILL
    with closing(sqlite3.connect(gateway.ledger)) as db:
        assert db.execute("SELECT order_id, amount_cents FROM charges").fetchall() == [("1001", 4200)]


def test_an_answer_is_held_until_healed(gateway: Service) -> None:
    gateway.client.arm("hold_answer", calls=1, seconds=100)
    answers: list[object] = []
    caller = threading.Thread(target=lambda: answers.append(gateway.client.post("/charge", CHARGE)))
    caller.start()
    wait_until(lambda: gateway.client.held() == 1, "the gateway holds the answer")
    assert (total(gateway.client), answers) == (4200, [])
    gateway.client.heal()
    caller.join(10)
    assert len(answers) == 1


def test_a_slow_service_does_not_act_for_a_caller_that_left(gateway: Service) -> None:
    gateway.client.arm("slow", calls=1, seconds=100)
    impatient = ServiceClient(gateway.client.url, timeout_s=0.2)
    with pytest.raises(Unavailable, match="timed out"):
        impatient.post("/charge", CHARGE)
    gateway.client.heal()
    wait_until(lambda: gateway.client.held() == 0, "the slow call is let go")
    assert total(gateway.client) == 0


def strikes(client: ServiceClient, path: str) -> list[bool]:
    struck: list[bool] = []
    for number in range(40):
        try:
            client.post(path, CHARGE, key=str(number))
        except Unavailable:
            struck.append(True)
        else:
            struck.append(False)
    return struck


def test_faults_by_probability_come_from_their_seed(start: StartService) -> None:
    runs: list[list[bool]] = []
    for _ in range(2):
        gateway = start("payment_gateway")
        gateway.client.arm("down", "/charge", probability=0.3, seed=7)
        runs.append(strikes(gateway.client, "/charge"))
        gateway.process.kill_9()
    assert runs[0] == runs[1]
    assert 0 < sum(runs[0]) < 40


def test_stock_is_reserved_whole_or_not_at_all(start: StartService) -> None:
    warehouse = start("inventory").client
    warehouse.post("/stock", {"order_id": "opening", "quantities": {"LAMP": 2, "MUG": 1}})
    warehouse.post("/reserve", {"order_id": "1", "items": {"LAMP": 1, "MUG": 1}}, key="a")
    with pytest.raises(Refused, match="MUG is out of stock") as refusal:
        warehouse.post("/reserve", {"order_id": "2", "items": {"LAMP": 1, "MUG": 1}}, key="b")
    assert refusal.value.error == "out_of_stock"
    assert warehouse.get("/stock") == {"LAMP": {"delivered": 2, "on_hand": 1}, "MUG": {"delivered": 1, "on_hand": 0}}


def test_a_release_gives_back_what_the_order_held(start: StartService) -> None:
    warehouse = start("inventory").client
    warehouse.post("/stock", {"order_id": "opening", "quantities": {"LAMP": 2}})
    warehouse.post("/reserve", {"order_id": "1", "items": {"LAMP": 2}})
    assert warehouse.post("/release", {"order_id": "1"}) == {"released": 2}
    assert warehouse.post("/release", {"order_id": "1"}) == {"released": 0}
    assert warehouse.get("/stock") == {"LAMP": {"delivered": 2, "on_hand": 2}}


def test_a_shipment_is_created_once_per_key(start: StartService) -> None:
    carrier = start("shipping").client
    first = carrier.post("/ship", {"order_id": "1", "customer": "ada"}, key="a")
    assert carrier.post("/ship", {"order_id": "1", "customer": "ada"}, key="a") == first
    assert carrier.get("/shipments", order_id="1") == {"tracking": [first["tracking"]]}


def test_the_ledger_knows_when_a_process_first_called(gateway: Service, tmp_path: Path) -> None:
    gateway.client.post("/charge", CHARGE)
    with closing(open_for_reading(gateway.ledger)) as db:
        at_ns, caller = db.execute("SELECT at_ns, caller FROM calls").fetchone()
    assert first_call_at_ns([gateway.ledger], caller) == at_ns
    assert first_call_at_ns([gateway.ledger], "nobody") is None


def test_a_town_opens_with_full_shelves_and_leaves_nobody_behind(tmp_path: Path) -> None:
    with Town(tmp_path) as town:
        assert town.inventory.client.get("/stock")["LAMP"] == {"delivered": 5000, "on_hand": 5000}
        assert all(ledger.exists() for ledger in town.ledgers)
    assert all(service.process.ended for service in town.services)
