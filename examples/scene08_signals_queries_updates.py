"""Scene 08: signals, queries and updates.

ORDER #1001 is not a row that others change behind its back. It is an actor with an address, its workflow id: it can be
told something (a signal), asked something (a query), and made to do something and answer (an update). What it was told
is on disk before the caller goes on; what it was asked leaves no trace; what it refuses leaves none either.
"""

from __future__ import annotations

import threading

from stage import Stage, play, seen, show, step, title, until

from perdure import ApplicationError, Engine, activity, call, workflow
from perdure.api.digest import digest
from perdure.errors import QueryFailedError, UpdateFailedError

PRICES = {"lamp": 4200, "tea": 720, "mug": 950}


@activity(start_to_close_timeout="10s")
def price_of(item: str) -> int:
    return PRICES[item]


@activity(start_to_close_timeout="10s")
def charge(order_id: str, cents: int) -> str:
    return f"${cents / 100:.2f} for order {order_id}"


@workflow
class Order:
    def __init__(self) -> None:
        self.status = "waiting for approval"
        self.lines = {"lamp": 4200}
        self.notes: list[str] = []
        self.approved_by = ""

    @workflow.run
    def run(self, order_id: str) -> str:
        if not workflow.wait_condition(lambda: self.approved_by, timeout="14 days"):
            self.status = "expired"
            return self.status
        receipt = call(charge, order_id, self.total())
        workflow.wait_condition(workflow.all_handlers_finished)
        self.status = "paid"
        return f"{receipt}, approved by {self.approved_by}"

    @workflow.signal
    def note(self, text: str) -> None:
        self.notes.append(text)

    @workflow.signal
    def approve(self, who: str) -> None:
        self.approved_by = who

    @workflow.query
    def describe(self) -> str:
        return f"{self.status}: {', '.join(self.lines)}"

    @workflow.query
    def all_notes(self) -> list[str]:
        return self.notes

    @workflow.query
    def meddle(self) -> int:
        return call(price_of, "tea")  # an effect, in a question

    @workflow.update
    def add(self, item: str) -> int:
        self.lines[item] = call(price_of, item)  # a handler may do whatever a workflow may
        return self.total()

    @add.validator
    def is_sold(self, item: str) -> None:
        if item not in PRICES:
            raise ApplicationError(f"we sell no {item}")

    def total(self) -> int:
        return sum(self.lines.values())


@workflow
def newsletter(customer: str) -> str:
    """A function is an actor, too: it takes its signals where it stands."""
    topics: list[str] = []
    workflow.on_query("topics", lambda: topics)
    while (topic := workflow.wait_signal("subscribe")) != "enough":
        topics.append(topic)
    return f"{customer} reads about {' and '.join(topics)}"


def office(url: str) -> None:
    """Three people talk to the order, through an engine that runs nothing itself; then the lights go out."""
    with Engine(url, worker=False) as engine:
        for text in ("ring twice", "not before nine", "beware of the dog"):
            engine.get("order-1001").signal("note", text)
        print("told", flush=True)
        threading.Event().wait()  # until it is killed


def events(engine: Engine, workflow_id: str) -> list[str]:
    return [line.name for line in digest(engine.get(workflow_id).history())]


def talk(engine: Engine) -> None:
    """The first day of the order."""
    order = engine.start(Order, "1001", id="order-1001")
    until(lambda: "TimerStarted" in events(engine, "order-1001"))

    step("a question: how do you do?")
    before = events(engine, "order-1001")
    answer = order.query(Order.describe)
    show(f"order-1001 says: {answer}")
    seen("it answers", answer == "waiting for approval: lamp")
    seen("and its history is as long as before: a query leaves no event", events(engine, "order-1001") == before)
    try:
        order.query(Order.meddle)
    except QueryFailedError as error:
        show(str(error))
        seen("a question that would have an effect is refused", events(engine, "order-1001") == before)

    step("an update: add a tea, and what does it come to?")
    total = order.update(Order.add, "tea")
    show(f"${total / 100:.2f}")
    seen("the answer is the new total, with the price that an activity looked up", total == 4920)
    seen("the update is in the history", "WorkflowExecutionUpdateCompleted" in events(engine, "order-1001"))
    before = events(engine, "order-1001")
    try:
        order.update(Order.add, "gramophone")
    except UpdateFailedError as error:
        show(str(error.__cause__))
        seen("what the validator rejects leaves no event", events(engine, "order-1001") == before)


def story(stage: Stage) -> None:
    title("Scene 08: signals, queries and updates")
    url = stage.url
    with Engine(url) as engine:
        talk(engine)

    step("three signals; each call returned, nobody has handled them, and the process is killed")
    process = stage.process(office, url)
    process.wait_line("told")
    process.kill_9()
    show(f"kill -9 {process.pid}")
    with Engine(url) as engine:
        notes = engine.get("order-1001").query(Order.all_notes)
        show(f"the order remembers: {', '.join(notes)}")
        seen("none is lost, none is doubled", sorted(notes) == sorted(set(notes)) and len(notes) == 3)
        seen("and they came in the order of their sending", notes[0] == "ring twice" and notes[2].endswith("dog"))

        step("Ada approves")
        engine.get("order-1001").signal(Order.approve, "Ada")
        result = engine.get("order-1001").result()
        show(result)
        seen("the order went on where it had waited", result == "$49.20 for order 1001, approved by Ada")
        length = len(events(engine, "order-1001"))
        answer = engine.get("order-1001").query(Order.describe)
        seen("a closed order still answers: its history is run again", answer == "paid: lamp, tea")
        seen("which changes nothing", len(events(engine, "order-1001")) == length)

        step("a signal for somebody who is not there yet: signal-with-start, twice")
        for topic in ("lamps", "tea"):
            reader = engine.start(
                newsletter, "Bob", id="newsletter-bob", start_signal="subscribe", start_signal_args=[topic]
            )
        show(f"topics: {reader.query('topics')}")
        reader.signal("subscribe", "enough")
        seen("the first one started it, the second one found it", reader.result() == "Bob reads about lamps and tea")


if __name__ == "__main__":
    play(__file__, story, office)
