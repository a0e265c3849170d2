"""Signals: who takes them, in which order, and what replay makes of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from perdure import ApplicationError, CancelledError, activity, call, start, workflow
from perdure.errors import DefinitionError, EngineError, NonDeterminismError
from perdure.sdk.replay.flags import Flag

from .given import History, texts


@activity
def pay(amount: int) -> str:
    return str(amount)


@dataclass
class Item:
    name: str
    count: int


ITEM = f"{__name__}.Item"


@workflow
def collects() -> list[str]:
    seen: list[str] = []
    workflow.on_signal("add", lambda text: seen.append(text))
    workflow.wait_condition(lambda: "end" in seen)
    return seen


@workflow
async def collects_async() -> list[str]:
    seen: list[str] = []
    workflow.on_signal("add", lambda text: seen.append(text))
    await workflow.wait_condition(lambda: "end" in seen)
    return seen


@workflow
class Collector:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.run
    def run(self) -> list[str]:
        self.seen.append("run")
        workflow.wait_condition(lambda: "end" in self.seen)
        return self.seen

    @workflow.signal
    def add(self, text: str) -> None:
        self.seen.append(text)


@workflow
class AsyncCollector:
    def __init__(self, first: str) -> None:
        self.seen = [first]

    @workflow.run
    async def run(self, first: str) -> list[str]:
        self.seen.append("run")
        await workflow.wait_condition(lambda: "end" in self.seen)
        return self.seen

    @workflow.signal(name="add")
    async def added(self, text: str) -> None:
        await asyncio.sleep(0)
        self.seen.append(text)


@pytest.mark.parametrize("code", [collects, collects_async])
def test_a_handler_gets_signals_in_their_order(code) -> None:
    h = History(code).task()
    machine = h.machine()
    assert texts(machine.process(h.since()).commands) == []
    seen = h.last
    h.done().signaled("add", "a").signaled("add", "b").task()
    assert texts(machine.process(h.since(seen)).commands) == []
    seen = h.last
    h.done().signaled("add", "end").task()
    assert texts(machine.process(h.since(seen)).commands) == ['complete ["a","b","end"]']
    assert texts(h.cold().commands) == ['complete ["a","b","end"]']


@pytest.mark.parametrize("code", [collects, collects_async])
def test_signals_that_come_before_the_code_began_wait_for_its_handler(code) -> None:
    h = History(code).signaled("add", "a").signaled("other", "x").signaled("add", "end").task()
    assert texts(h.cold().commands) == ['complete ["a","end"]']


def test_a_class_has_its_handlers_before_its_first_line_runs() -> None:
    h = History(Collector).signaled("add", "a").task().done().signaled("add", "end").task()
    assert texts(h.cold().commands) == ['complete ["a","run","end"]']


def test_an_async_class_gets_its_arguments_in_both_places() -> None:
    h = History(AsyncCollector, "given").signaled("add", "a").signaled("add", "end").task()
    assert texts(h.cold().commands) == ['complete ["given","a","end","run"]']


def test_signals_of_a_task_come_before_what_else_it_brings() -> None:
    @workflow
    def races() -> list[str]:
        order: list[str] = []
        workflow.on_signal("note", lambda text: order.append(text))
        order.append(call(pay, 1))
        return order

    @workflow
    async def races_async() -> list[str]:
        order: list[str] = []
        workflow.on_signal("note", lambda text: order.append(text))
        order.append(await start(pay, 1))
        return order

    for code in (races, races_async):
        h = History(code).task().done().scheduled("pay").completed("1", "paid").signaled("note", "first").task()
        assert texts(h.cold().commands) == ['complete ["first","paid"]']


def test_handlers_run_beside_the_code_and_beside_each_other() -> None:
    @workflow
    def serves() -> list[str]:
        answers: list[str] = []

        def order(amount: int) -> None:
            answers.append(call(pay, amount))

        workflow.on_signal("order", order)
        workflow.wait_condition(lambda: len(answers) == 2)
        return answers

    h = History(serves).signaled("order", 1).signaled("order", 2).task()
    assert texts(h.cold().commands) == ["schedule pay(1) as 1", "schedule pay(2) as 2"]
    h.done().scheduled("pay").scheduled("pay").completed("2", "two").task()
    assert texts(h.cold().commands) == []
    h.done().completed("1", "one").task()
    assert texts(h.cold().commands) == ['complete ["two","one"]']


def test_arguments_are_decoded_by_the_handlers_annotations() -> None:
    @workflow
    def takes() -> str:
        got: list[Item] = []

        def add(item: Item, times: int = 1) -> None:
            got.extend([item] * times)

        workflow.on_signal("add", add)
        workflow.wait_condition(lambda: len(got) == 3)
        return ",".join(item.name for item in got)

    h = History(takes).signaled("add", Item("pen", 2)).signaled("add", Item("cup", 1), 2).task()
    assert texts(h.cold().commands) == ['complete "pen,cup,cup"']


def test_the_dynamic_handler_gets_what_no_other_has() -> None:
    @workflow
    def takes() -> list[str]:
        got: list[str] = []
        workflow.on_signal("known", lambda: got.append("known"))
        workflow.on_signal(None, lambda name, *args: got.append(f"{name}{args}"))
        workflow.wait_condition(lambda: len(got) == 3)
        return got

    h = History(takes).signaled("__reserved").signaled("x", 1, 2).signaled("known").signaled("y").task()
    assert texts(h.cold().commands) == ['complete ["known","x(1, 2)","y()"]']


def test_wait_signal_takes_what_is_there_and_waits_for_what_is_not() -> None:
    @workflow
    def waits() -> list[object]:
        return [workflow.wait_signal("a"), workflow.wait_signal("b"), workflow.wait_signal("a", returns=Item).name]

    @workflow
    async def waits_async() -> list[object]:
        first, second = await workflow.wait_signal("a"), await workflow.wait_signal("b")
        return [first, second, (await workflow.wait_signal("a", returns=Item)).name]

    for code in (waits, waits_async):
        h = History(code).signaled("b", 1, 2).task().done().signaled("a").signaled("a", Item("pen", 1)).task()
        assert texts(h.cold().commands) == ['complete [null,[1,2],"pen"]']


def test_wait_signal_gives_up_in_time() -> None:
    @workflow
    def picks_up() -> str:
        try:
            return workflow.wait_signal("picked up", timeout="60s")
        except TimeoutError as error:
            return str(error)

    @workflow
    async def picks_up_async() -> str:
        try:
            return await workflow.wait_signal("picked up", timeout="60s")
        except TimeoutError as error:
            return str(error)

    for code in (picks_up, picks_up_async):
        h = History(code).task()
        assert texts(h.cold().commands) == ["timer 1 for 60s"]
        late = History(code).task().done().timer().fired("1").task()
        assert texts(late.cold().commands) == ["complete \"no signal 'picked up' came within 60s\""]
        h.done().timer().signaled("picked up", "by Ada").task()
        assert texts(h.cold().commands) == ["cancel timer 1", 'complete "by Ada"']


def test_a_cancelled_wait_leaves_the_signal_for_the_next() -> None:
    @workflow
    def waits() -> str:
        try:
            workflow.wait_signal("go")
        except CancelledError:
            return "cancelled, then " + workflow.wait_signal("go")
        return "not cancelled"

    h = History(waits).task().done().cancel_requested().task().done().signaled("go", "gone").task()
    assert texts(h.cold().commands) == ['complete "cancelled, then gone"']


def test_a_failure_in_a_handler_fails_the_run() -> None:
    def refuse() -> None:
        raise ApplicationError("no", type="No")

    @workflow
    def waits() -> None:
        workflow.on_signal("x", refuse)
        workflow.wait_condition(lambda: False)

    @workflow
    async def waits_async() -> None:
        workflow.on_signal("x", refuse)
        await workflow.wait_condition(lambda: False)

    for code in (waits, waits_async):
        h = History(code).task().done().signaled("x").task()
        assert texts(h.cold().commands) == ["fail no"]


def test_a_bug_in_a_handler_fails_the_task_alone() -> None:
    @workflow
    def waits() -> None:
        workflow.on_signal("x", lambda: 1 / 0)
        workflow.wait_condition(lambda: False)

    outcome = History(waits).signaled("x").task().cold()
    assert isinstance(outcome.error, ZeroDivisionError)


def test_a_signal_that_does_not_fit_its_handler_is_dropped_and_told_of() -> None:
    got: list[str] = []

    def add(item: Item, *more: Item) -> None:
        got.extend([item.name, *(other.name for other in more)])

    @workflow
    def waits() -> list[str]:
        got.clear()
        workflow.on_signal("add", add)
        workflow.wait_condition(lambda: "end" in got)
        return got

    h = History(waits).signaled("add", "no item").signaled("add").signaled("add", Item("cup", 1)).task()
    outcome = h.cold()
    assert [text.partition(":")[0] for text in outcome.dropped] == ["the signal 'add' does not fit, and is dropped"] * 2
    assert f"the arguments of signal add [0] (item) does not decode to {ITEM}" in outcome.dropped[0]
    assert "its handler takes item, *more, and was given none" in outcome.dropped[1]
    assert got == ["cup"]
    last = h.done().signaled("add", Item("end", 1)).task().cold()
    assert texts(last.commands) == ['complete ["cup","end"]'] and last.dropped == []


def test_a_wait_goes_on_behind_a_signal_that_does_not_fit_it() -> None:
    @workflow
    def waits() -> list[str]:
        first = workflow.wait_signal("add", returns=Item)
        workflow.sleep(60)
        return [first.name, workflow.wait_signal("add", returns=Item).name]

    @workflow
    async def waits_async() -> list[str]:
        first = await workflow.wait_signal("add", returns=Item)
        await workflow.sleep(60)
        return [first.name, (await workflow.wait_signal("add", returns=Item)).name]

    for code in (waits, waits_async):
        h = History(code).task().done().signaled("add", "bad").signaled("add", Item("pen", 1)).task()
        outcome = h.cold()
        (dropped,) = outcome.dropped
        assert f"the value of signal add [0] does not decode to {ITEM}" in dropped
        assert texts(outcome.commands) == ["timer 1 for 60s"]
        h.done().timer().signaled("add", 7).task()  # kept: nobody waits for it now
        assert h.cold().dropped == []
        h.done().signaled("add", Item("cup", 1)).task().done().fired("1").task()
        last = h.cold()
        assert len(last.dropped) == 1 and texts(last.commands) == ['complete ["pen","cup"]']


def test_a_null_where_there_can_be_none_is_dropped_by_runs_that_never_took_one() -> None:
    got: list[object] = []

    def add(text: str) -> None:
        got.append(text)
        call(pay, 1)

    @workflow
    def waits() -> None:
        workflow.on_signal("add", add)
        workflow.on_signal("maybe", lambda: None)
        workflow.wait_condition(lambda: False)

    outcome = History(waits).signaled("add", None).task().cold()
    assert outcome.dropped == ["the signal 'add' does not fit, and is dropped: [0] is null, and not str"]
    assert (list(outcome.flags), texts(outcome.commands), got) == ([Flag.MESSAGES_CHECKED], [], [])
    again = History(waits).signaled("add", None).task().done([Flag.MESSAGES_CHECKED]).signaled("maybe").task().cold()
    assert (again.error, again.dropped, got) == (None, [], [])
    # A history from before: the handler was given it, and went on.
    before = History(waits).signaled("add", None).task().done().scheduled("pay").signaled("maybe").task().cold()
    assert (before.error, before.dropped, got) == (None, [], [None])


def test_a_signal_that_nobody_takes_is_told_of_once_where_it_looks_like_a_slip() -> None:
    h = History(Collector).signaled("ad", "x").task()
    outcome = h.cold()
    meant = "it is kept, the code takes add; did the sender mean 'add'?"
    assert outcome.untaken == [f"nobody takes the signal 'ad': {meant}"]
    assert h.done().signaled("ad", "y").signaled("other").signaled("__ours").task().cold().untaken == [
        "nobody takes the signal 'other': it is kept, the code takes add"
    ]
    assert h.done().signaled("add", "end").task().cold().untaken == []


def test_code_that_has_not_asked_yet_is_not_suspected_before_it_ends() -> None:
    @workflow
    def asks_late() -> None:
        workflow.sleep(60)
        workflow.wait_signal("approved")

    h = History(asks_late).task().done().timer().signaled("aproved").signaled("approved").task()
    assert h.cold().untaken == []
    last = h.done().fired("1").task().cold()
    assert last.finished and last.untaken == ["the run ended, and nobody had taken the signal 'aproved'"]


def test_signals_that_go_on_to_the_next_run_are_not_told_of() -> None:
    @workflow
    def goes_on() -> None:
        workflow.continue_as_new()

    assert History(goes_on).signaled("x").task().cold().untaken == []


def test_unfinished_handlers_are_named_or_waited_for() -> None:
    def order() -> None:
        call(pay, 1)

    @workflow
    def leaves() -> bool:
        workflow.on_signal("order", order)
        workflow.wait_condition(lambda: not workflow.all_handlers_finished())
        return True

    @workflow
    def stays() -> bool:
        workflow.on_signal("order", order, unfinished="wait")
        workflow.wait_condition(lambda: not workflow.all_handlers_finished())
        return True

    outcome = History(leaves).signaled("order").task().cold()
    assert texts(outcome.commands) == ["schedule pay(1) as 1", "complete true"]
    assert outcome.finished and outcome.unfinished == ["signal order"]
    h = History(stays).signaled("order").task()
    outcome = h.cold()
    assert texts(outcome.commands) == ["schedule pay(1) as 1"] and not outcome.finished
    outcome = h.done().scheduled("pay").completed("1", "1").task().cold()
    assert texts(outcome.commands) == ["complete true"] and outcome.unfinished == []


def test_an_async_run_stays_open_for_a_handler_that_is_waited_for() -> None:
    async def order() -> None:
        await start(pay, 1)

    @workflow
    async def stays() -> bool:
        workflow.on_signal("order", order, unfinished="wait")
        await workflow.wait_condition(lambda: not workflow.all_handlers_finished())
        return True

    h = History(stays).signaled("order").task()
    assert texts(h.cold().commands) == ["schedule pay(1) as 1"]
    assert texts(h.done().scheduled("pay").completed("1", "1").task().cold().commands) == ["complete true"]


def test_code_that_no_longer_handles_a_signal_is_noticed() -> None:
    @workflow
    def once() -> None:
        workflow.wait_condition(lambda: False)

    h = History(once).signaled("order").task().done().scheduled("pay").task()
    error = h.cold().error
    assert isinstance(error, NonDeterminismError) and error.event_id == 6


def test_a_closed_machine_ends_its_handlers_too() -> None:
    ended: list[str] = []

    def order() -> None:
        try:
            call(pay, 1)
        finally:
            ended.append("order")

    @workflow
    def waits() -> None:
        workflow.on_signal("order", order)
        workflow.wait_condition(lambda: False)

    History(waits).signaled("order").task().cold()
    assert ended == ["order"]


def test_declarations_that_cannot_be() -> None:
    with pytest.raises(DefinitionError, match="has no method decorated with @workflow"):

        @workflow
        class Nothing:
            pass

    with pytest.raises(DefinitionError, match="make both `async def`"):

        @workflow
        class Mixed:
            @workflow.run
            def run(self) -> None: ...

            @workflow.signal
            async def go(self) -> None: ...

    with pytest.raises(DefinitionError, match="two handlers of signal 'go'"):

        @workflow
        class Twice:
            @workflow.run
            def run(self) -> None: ...

            @workflow.signal
            def go(self) -> None: ...

            @workflow.signal(name="go")
            def again(self) -> None: ...

    with pytest.raises(DefinitionError, match="one of 'warn', 'wait'"):
        workflow.signal(name="x", unfinished="never")(lambda self: None)


def test_handlers_are_registered_by_running_workflows_alone() -> None:
    with pytest.raises(EngineError, match="works inside a running workflow"):
        workflow.on_signal("x", lambda: None)
