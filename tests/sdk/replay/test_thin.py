"""The thin path: an activity, a timer, the end; `def` and `async def`; cold and sticky."""

from perdure.sdk.activity import activity
from perdure.sdk.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts


@activity(start_to_close="30s")
def charge(amount: int) -> str:
    raise AssertionError("not here")


@workflow
def order(amount: int) -> str:
    receipt = call(charge, amount)
    workflow.sleep(days=2)
    return receipt + "!"


@workflow
async def order_async(amount: int) -> str:
    receipt = await start(charge, amount)
    await workflow.sleep("2 days")
    return receipt + "!"


def script(definition) -> None:
    history = History(definition, 42).task()
    machine = history.machine()
    first = machine.process(history.since())
    assert first.failure is None, first.failure
    assert texts(first.commands) == ["schedule charge(42) as 1"]
    seen = history.last
    history.done().scheduled("charge").completed("1", "r").task()
    second = machine.process(history.since(seen))
    assert texts(second.commands) == ["timer 1 for 172800s"]
    assert history.cold().commands == second.commands
    seen = history.last
    history.done().timer().fired("1").task()
    third = machine.process(history.since(seen))
    assert texts(third.commands) == ['complete "r!"']
    assert third.finished
    assert history.cold().commands == third.commands
    history.done().workflow_completed("r!")
    over = history.cold()
    assert over.commands == [] and over.failure is None and over.finished


def test_sync() -> None:
    script(order)


def test_async() -> None:
    script(order_async)
