"""Processes for activities that keep a CPU busy: `run_in="process"`.

Each lane is one process with one attempt at a time, so that a process that dies (out of memory, a
crash in C) takes only its own attempt with it; that attempt fails, retryably, and the lane gets a new
process. Lanes are started when first needed. Unlike a thread, a process can be stopped: an
attempt whose time is up is killed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections import deque
from multiprocessing.connection import Connection as Pipe
from typing import Any

from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure

from perdure.sdk.convert import Converter
from perdure.sdk.errors import ApplicationError, CancelledError
from perdure.sdk.texts import class_name, text_of
from perdure.sdk.worker.attempt import Attempt, Stop
from perdure.sdk.worker.handover import Returns
from perdure.sdk.worker.process_child import CANCELLED, ELSEWHERE, child_main
from perdure.sdk.worker.raised import Outcome, Raised, raised

_spawn = multiprocessing.get_context("spawn")


class _Lane:
    """The parent's end of one process."""

    def __init__(self, returns: Returns, converter: Converter, number: int) -> None:
        self._returns = returns
        self._pipe: Pipe
        self._pipe, child_end = _spawn.Pipe()
        self.process = _spawn.Process(
            target=child_main, args=(child_end, converter), name=f"perdure-activities-{number}", daemon=True
        )
        try:
            self.process.start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            child_end.close()
        self.ready = False
        self.dead = False
        self.attempt: Attempt | None = None
        self.outcome: asyncio.Future[Outcome] | None = None
        try:
            threading.Thread(target=self._listen, name=f"perdure-lane-{number}", daemon=True).start()
        except BaseException:  # no thread can be had: a process that nobody listens to is of no use
            self.process.kill()
            self.process.join()
            self._pipe.close()
            raise

    def run(self, attempt: Attempt, task_queue: str) -> asyncio.Future[Outcome]:
        self.attempt = attempt
        self.outcome = asyncio.get_running_loop().create_future()
        definition = attempt.definition
        self._send((definition.__module__, definition.__qualname__, attempt.task.SerializeToString(), task_queue))
        return self.outcome

    def stop_attempt(self) -> None:
        """Ask, or when its time is up or nobody waits for it: kill."""
        if self.attempt is not None and self.attempt.stop in (Stop.TIMED_OUT, Stop.GONE):
            self.process.kill()
        else:
            self._send("cancel")

    def end(self) -> None:
        self.process.kill()

    def _send(self, message: Any) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            # The process is gone: the listening thread sees the end of the pipe and reports the death.
            return

    def _listen(self) -> None:
        while True:
            try:
                kind, data = self._pipe.recv()
            except (EOFError, OSError):
                break
            self._returns.put(self._receive, (kind, data))
        self.process.join()
        self._pipe.close()
        self._returns.put(self._died, self.process.exitcode)

    def _receive(self, message: tuple[str, bytes]) -> None:
        kind, data = message
        attempt = self.attempt
        if kind == "ready":
            self.ready = True
        elif attempt is None:
            return
        elif kind == "heartbeat":
            attempt.record_heartbeat(list(Payloads.FromString(data).payloads))
        elif kind == "result":
            self._settle(list(Payloads.FromString(data).payloads))
        else:
            failure = Failure.FromString(data)
            self._settle(Raised(failure, None, kind == CANCELLED, kind == ELSEWHERE))

    def _died(self, exit_code: int | None) -> None:
        self.dead = True
        if self.attempt is None:
            return
        why = "was killed" if exit_code == -9 else "died"
        hint = (
            "; perhaps out of memory"
            if self.ready
            else '; it did not start: is the main program guarded by `if __name__ == "__main__":`?'
        )
        text = f"the process that ran activity {self.attempt.definition.name} {why} (exit code {exit_code}){hint}"
        self._settle(raised(ApplicationError(text, type="ProcessDied"), self.attempt.converter))

    def _settle(self, outcome: Outcome) -> None:
        self.attempt = None
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_result(outcome)


class ProcessHands:
    """The lanes of one worker."""

    def __init__(self, returns: Returns, converter: Converter, most: int, task_queue: str) -> None:
        self._returns = returns
        self._converter = converter
        self._most = most
        self._task_queue = task_queue
        self._idle: list[_Lane] = []
        self._lanes: set[_Lane] = set()
        self._starting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._started = 0

    async def run(self, attempt: Attempt) -> Outcome:
        """Run an attempt in a process of its own choosing; waits for a free one."""
        try:
            lane = await self._free_lane()
        except Exception as error:  # of the system, or of a codec that cannot be taken to another process
            text = f"no process could be started for an activity: {class_name(error)}: {text_of(error)}"
            return raised(ApplicationError(text, type="ProcessDied"), self._converter)
        try:
            if attempt.stop is not None:
                text = f"stopped before a process was free: {attempt.stop.value}"
                return raised(CancelledError(text), self._converter)
            attempt.on_stop = lane.stop_attempt
            return await lane.run(attempt, self._task_queue)
        finally:
            attempt.on_stop = None
            self._give_back(lane)

    def stop(self) -> None:
        """Kill all processes."""
        for lane in self._lanes:
            lane.end()
        self._lanes.clear()
        self._idle.clear()

    async def _free_lane(self) -> _Lane:
        while True:
            while self._idle:
                lane = self._idle.pop()
                if not lane.dead:
                    return lane
                self._lanes.discard(lane)
            if len(self._lanes) + self._starting < self._most:
                return await self._start_lane()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    async def _start_lane(self) -> _Lane:
        self._started += 1
        self._starting += 1
        try:
            lane = await asyncio.to_thread(_Lane, self._returns, self._converter, self._started)
        except BaseException:
            self._wake_a_waiter()  # there is room for one that it may start
            raise
        finally:
            self._starting -= 1
        self._lanes.add(lane)
        return lane

    def _give_back(self, lane: _Lane) -> None:
        if lane.dead or lane.attempt is not None:
            # Left in the middle of an attempt: nobody may use it again.
            lane.end()
            self._lanes.discard(lane)
        else:
            self._idle.append(lane)
        self._wake_a_waiter()

    def _wake_a_waiter(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
