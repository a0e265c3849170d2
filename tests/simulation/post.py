"""What the two colours of the program workflow share about messages, and the children that they talk to."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perdure.sdk.errors import ActivityError, ApplicationError, CancelledError
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.simulation.activities import failed, performer
from tests.simulation.programs import Act, Asked, Program


class Carried(msgspec.Struct):
    """What a run hands on to the next one."""

    results: list[str] = []
    told: list[int] = []
    asked: dict[int, str] = {}


class Post:
    """The handlers of a run, and what they got."""

    def __init__(self, program: Program, carried: Carried) -> None:
        self.told = list(carried.told)
        self.asked = dict(carried.asked)
        self._acts = {step.number: step.act for step in program.steps if isinstance(step, Asked)}

    def carry(self, results: list[str]) -> Carried:
        return Carried([*results, "again"], self.told, self.asked)

    def told_so_far(self) -> list[int]:
        """The answer to a query."""
        return list(self.told)

    def has(self, numbers: Sequence[int]) -> bool:
        return set(numbers) <= set(self.told)

    def said(self, numbers: Sequence[int]) -> str:
        """A signal that came twice is there twice."""
        return f"told {sorted(number for number in self.told if number in numbers)}"

    def act_of(self, number: int) -> Act | None:
        """None when an earlier run has handled this update."""
        return None if number in self.asked else self._acts[number]

    @staticmethod
    def check(number: int, welcome: bool) -> None:
        if not welcome:
            raise ApplicationError(f"update {number} is not welcome")

    def answer(self, number: int, welcome: bool) -> str:
        """The handler of updates in a `def` workflow."""
        act = self.act_of(number)
        if act is not None:
            self.asked[number] = outcome(act)
        return self.asked[number]

    async def answer_async(self, number: int, welcome: bool) -> str:
        """The same in an `async def` one."""
        act = self.act_of(number)
        if act is not None:
            self.asked[number] = await outcome_async(act)
        return self.asked[number]


def outcome(act: Act) -> str:
    """Run one in a `def` workflow."""
    try:
        return call(performer(act), act)
    except CancelledError:
        return f"{act.name} cancelled"
    except ActivityError as error:
        return f"{act.name} cancelled" if isinstance(error.cause, CancelledError) else failed(act, error)


async def outcome_async(act: Act) -> str:
    """Run one in an `async def` workflow."""
    try:
        return await start(performer(act), act)
    except CancelledError:
        return f"{act.name} cancelled"
    except ActivityError as error:
        return f"{act.name} cancelled" if isinstance(error.cause, CancelledError) else failed(act, error)


@workflow(name="simulated_kid")
def kid(act: Act) -> str:
    """A child that runs one activity."""
    return outcome(act)


@workflow(name="simulated_ear")
def ear(count: int) -> str:
    """A child that waits for so many signals, and a little longer for one too many."""
    told: list[int] = []
    workflow.on_signal("tell", told.append)
    workflow.wait_condition(lambda: len(told) >= count)
    workflow.sleep(60)
    return f"heard {told}"
