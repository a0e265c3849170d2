"""`temporal.api.testservice.v1.TestService`: how the SDKs' time-skipping environments steer a test server's time."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from temporalio.api.testservice import v1 as service

from perdure.api.times import NS_PER_SECOND, duration_ns, later, set_timestamp, timestamp_ns
from perdure.engine.time_skipping import LAST_NS, TimeSkipper
from perdure.frontend.calls import Call
from perdure.frontend.chain import Chain
from perdure.frontend.edge import invalid


class TestService:
    """The RPCs under their names. Only a test server serves them."""

    __test__ = False

    def __init__(self, skipper: TimeSkipper, chain: Chain | None = None) -> None:
        serve, time = (chain or Chain(None)).serve, _Time(skipper)
        self.lock_time_skipping = serve("LockTimeSkipping", time.lock)
        self.unlock_time_skipping = serve("UnlockTimeSkipping", time.unlock)
        self.sleep = serve("Sleep", time.sleep)
        self.sleep_until = serve("SleepUntil", time.sleep_until)
        self.unlock_time_skipping_with_sleep = serve("UnlockTimeSkippingWithSleep", time.unlock_with_sleep)
        self.get_current_time = serve("GetCurrentTime", time.now)


class _Time:
    """The handlers, each as `perdure.engine.time_skipping` has it."""

    def __init__(self, skipper: TimeSkipper) -> None:
        self._skipper = skipper

    async def lock(self, request: service.LockTimeSkippingRequest, call: Call) -> service.LockTimeSkippingResponse:
        """LockTimeSkipping: one lock more."""
        self._skipper.lock()
        return service.LockTimeSkippingResponse()

    async def unlock(
        self, request: service.UnlockTimeSkippingRequest, call: Call
    ) -> service.UnlockTimeSkippingResponse:
        """UnlockTimeSkipping: one lock fewer. Raises Rejected FAILED_PRECONDITION when there is none."""
        self._skipper.unlock()
        return service.UnlockTimeSkippingResponse()

    async def sleep(self, request: service.SleepRequest, call: Call) -> service.SleepResponse:
        """Sleep, by the server's time."""
        await self._skipper.sleep_until(self._end_ns(request))
        return service.SleepResponse()

    async def sleep_until(self, request: service.SleepUntilRequest, call: Call) -> service.SleepResponse:
        """SleepUntil, by the server's time; at once when that is past."""
        if not request.HasField("timestamp"):
            raise invalid("Timestamp is not set on request.")
        await self._skipper.sleep_until(_reachable(timestamp_ns(request.timestamp)))
        return service.SleepResponse()

    async def unlock_with_sleep(self, request: service.SleepRequest, call: Call) -> service.SleepResponse:
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

    async def now(self, request: Empty, call: Call) -> service.GetCurrentTimeResponse:
        """GetCurrentTime: the server's, with what was skipped."""
        response = service.GetCurrentTimeResponse()
        set_timestamp(response.time, self._skipper.now_ns())
        return response


def _reachable(time_ns: int) -> int:
    """Raises Rejected INVALID_ARGUMENT for a time that is never reached."""
    if time_ns > LAST_NS:
        raise invalid(f"The time of this server ends at {LAST_NS // NS_PER_SECOND} s: it would sleep for ever.")
    return time_ns
