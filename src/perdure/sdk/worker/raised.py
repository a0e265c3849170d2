"""What an attempt raised, with the failure that tells of it.

The failure is written where the error was raised: on the activity's thread, in its process. For the error's own code
takes part in it, and a codec may ask a key service; on the loop it would keep everybody waiting.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from perdure.api.errors import Rejected
from perdure.api.failures import SHORT_FAILURE_BYTES, shortened
from perdure.sdk import errors
from perdure.sdk.activity import CompleteAsync
from perdure.sdk.convert import Converter, failure_of, groups


@dataclass(slots=True, frozen=True)
class Raised:
    """How an attempt ended badly, or not yet.

    Attributes:
        failure: what history is told.
        error: what was raised, where it is at hand; of a process there is only what it sent.
        is_cancellation: it says that the attempt did as it was asked to, and stopped.
        goes_on_elsewhere: the attempt will be completed from outside.
    """

    failure: Failure
    error: BaseException | None = None
    is_cancellation: bool = False
    goes_on_elsewhere: bool = False


Outcome = list[Payload] | Raised
"""An attempt's encoded result, or what it raised."""


def raised(error: BaseException, converter: Converter) -> Raised:
    """Where it was raised: the error and its failure. Never raises."""
    return Raised(failure_of(error, converter), error, says_cancelled(error), issubclass(type(error), CompleteAsync))


def says_cancelled(error: BaseException) -> bool:
    """Whether it is a CancelledError, perdure's or asyncio's, or a group of nothing else."""
    kinds = (errors.CancelledError, asyncio.CancelledError)
    return all(issubclass(type(member), kinds) for member in groups.leaves(error))


def refused(failure: Failure, rejected: Rejected) -> Failure:
    """What a server is sent that does not want a failure: its essence, and why."""
    essence = Failure()
    essence.CopyFrom(shortened(failure, SHORT_FAILURE_BYTES))
    essence.message += f" (not all of it was taken: {rejected.message})"
    if essence.HasField("application_failure_info"):
        essence.application_failure_info.ClearField("details")
        essence.application_failure_info.ClearField("next_retry_delay")
    return essence


def cancellation_details(failure: Failure) -> list[Payload]:
    """What a cancelled attempt had to say: the details of its CancelledError, or of the first in a group."""
    link = failure
    while not link.HasField("canceled_failure_info") and link.HasField("cause"):
        link = link.cause
    return list(link.canceled_failure_info.details.payloads)
