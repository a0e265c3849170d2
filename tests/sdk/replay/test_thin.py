"""The thin path: an activity, a timer, the end; `def` and `async def`; cold and sticky."""

from perdure.sdk.activity import activity
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts


@activity(start_to_close_timeout="30s")
def thin_charge(amount: int) -> str:
    raise AssertionError("not here")


@workflow
def thin_order(amount: int) -> str:
    receipt = call(thin_charge, amount)
    workflow.sleep(days=2)
    return receipt + "!"


@workflow
async def thin_order_async(amount: int) -> str:
    receipt = await start(thin_charge, amount)
    await workflow.sleep("2 days")
    return receipt + "!"


def script(definition: AnyWorkflow) -> None:
    history = History(definition, 42).task()
    machine = history.machine()
    first = machine.process(history.since())
    assert first.failure is None, first.failure
    assert texts(first.commands) == ["schedule thin_charge(42) as 1"]
    seen = history.last
    history.done().scheduled("thin_charge").completed("1", "r").task()
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
    script(thin_order)


def test_async() -> None:
    script(thin_order_async)
