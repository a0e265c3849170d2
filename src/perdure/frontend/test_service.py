"""`temporal.api.testservice.v1.TestService`: how the SDKs' time-skipping environments steer a test server's time."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from temporalio.api.testservice import v1 as service

from perdure.api.times import NS_PER_SECOND, duration_ns, later, set_timestamp, timestamp_ns
from perdure.core.limits import DEFAULT_LIMITS
from perdure.engine.time_skipping import LAST_NS, TimeSkipper
from perdure.frontend import gate
from perdure.frontend.edge import invalid
from perdure.frontend.rpcs import TEST_SERVICE


class TestService:
    """The RPCs, each as `perdure.engine.time_skipping` has it. Only a test server serves them."""

    __test__ = False

    def __init__(self, skipper: TimeSkipper) -> None:
        self._skipper = skipper
        gate.put_before(self, TEST_SERVICE, DEFAULT_LIMITS)

    async def lock_time_skipping(self, request: service.LockTimeSkippingRequest) -> service.LockTimeSkippingResponse:
        """LockTimeSkipping: one lock more."""
        self._skipper.lock()
        return service.LockTimeSkippingResponse()

    async def unlock_time_skipping(
        self, request: service.UnlockTimeSkippingRequest
    ) -> service.UnlockTimeSkippingResponse:
        """UnlockTimeSkipping: one lock fewer. Raises Rejected FAILED_PRECONDITION when there is none."""
        self._skipper.unlock()
        return service.UnlockTimeSkippingResponse()

    async def sleep(self, request: service.SleepRequest) -> service.SleepResponse:
        """Sleep, by the server's time."""
        await self._skipper.sleep_until(self._end_ns(request))
        return service.SleepResponse()

    async def sleep_until(self, request: service.SleepUntilRequest) -> service.SleepResponse:
        """SleepUntil, by the server's time; at once when that is past."""
        if not request.HasField("timestamp"):
            raise invalid("Timestamp is not set on request.")
        await self._skipper.sleep_until(_reachable(timestamp_ns(request.timestamp)))
        return service.SleepResponse()

    async def unlock_time_skipping_with_sleep(self, request: service.SleepRequest) -> service.SleepResponse:
        """UnlockTimeSkippingWithSleep: one lock fewer while it sleeps."""
        end_ns = self._end_ns(request)
        self._skipper.unlock()
        try:
            await self._skipper.sleep_until(end_ns)
        finally:
            self._skipper.lock()
        return service.SleepResponse()

    def _end_ns(self, request: service.SleepRequest) -> int:
        length_ns = duration_ns(request.duration)
        if length_ns < 0:
            raise invalid("Duration is negative.")
        return _reachable(later(self._skipper.now_ns(), length_ns))

    async def get_current_time(self, request: Empty) -> service.GetCurrentTimeResponse:
        """GetCurrentTime: the server's, with what was skipped."""
        response = service.GetCurrentTimeResponse()
        set_timestamp(response.time, self._skipper.now_ns())
        return response


def _reachable(time_ns: int) -> int:
    """Raises Rejected INVALID_ARGUMENT for a time that is never reached."""
    if time_ns > LAST_NS:
        raise invalid(f"The time of this server ends at {LAST_NS // NS_PER_SECOND} s: it would sleep for ever.")
    return time_ns
