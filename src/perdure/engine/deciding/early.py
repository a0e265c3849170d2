"""A step in one commit: a workflow task goes out before it is durable, and is made so together with its answer.

What has happened to a run (an activity's result, a timer, a signal) owes it a workflow task. If a worker of this
process takes it, nothing outside can see it do so, and it answers in a moment. So the commit is kept back until the
answer is there, which is decided on it, and one commit is made of both (ADR 0028). Not so the start of a run: that it
is the first of its workflow id is a guess until it is stored, and code would run for runs that never were.

Until then nothing leaves: no reply to anybody, no task but this one, no news. The worker's run goes back into its
memory when its answer is durable, and not before; so of a commit that is lost nothing is left, as of any other. An
answer to a task that never was is known by its token, and refused.

The answer is not waited for when anything else is asked of this workflow id, when a moment is over, or when the worker
says that it must know the task to be durable (for a local activity). Then the commit is written as it would have been
at once, and the answer makes the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import cast

from perdure.core.commands import CompleteWorkflowTask
from perdure.core.commit import Commit
from perdure.core.context import Context
from perdure.core.execution import Execution, decide, takes_steps
from perdure.core.started import StartedWorkflowTask
from perdure.engine.deciding.kept import Kept
from perdure.engine.deciding.mailbox import Call, Mailbox
from perdure.engine.matching.matching import Matching
from perdure.engine.matching.seats import Seat
from perdure.engine.matching.task_queue import Waiting
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.metrics import Metrics


class Early:
    """See the module's text.

    Args:
        config: says how long a commit is kept back at most.
        tell: says what the law is to know of this moment.
        write: hands a mailbox's commit over to the store.
        recover: deciding raised; given the calls that were decided, which are to be decided again.
        serve: serves a mailbox again after that.
    """

    def __init__(
        self,
        config: EngineConfig,
        metrics: Metrics,
        matching: Matching,
        tell: Callable[[Execution], Context],
        write: Callable[[Mailbox], None],
        recover: Callable[[Mailbox, list[Call], Exception], None],
        serve: Callable[[Mailbox], None],
    ) -> None:
        self._kept_s = config.kept_ns / 1e9
        self._metrics = metrics
        self._matching = matching
        self._tell = tell
        self._write = write
        self._recover = recover
        self._serve = serve
        self._is_open = False
        self._kept: dict[Mailbox, Kept] = {}
        """Commits that wait, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Keep commits back from now on."""
        self._loop = asyncio.get_running_loop()
        self._is_open = self._kept_s > 0

    def stop(self) -> None:
        """No more; what waits is written."""
        self._is_open = False
        for mailbox in list(self._kept):
            self.write(mailbox)
        self._sleep()

    def abort(self) -> None:
        """What waits is never written."""
        self._is_open = False
        self._kept.clear()
        self._sleep()

    def _sleep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def keeps(self, mailbox: Mailbox, commit: Commit) -> bool:
        """Whether this commit waits for an answer: then its one task is with a worker now. Asked with one that has a
        dispatch and is about to be written."""
        poller, task = commit.dispatches[0].poller, commit.dispatches[0].task
        if (
            type(task) is not StartedWorkflowTask
            or len(mailbox.assigned) != 1
            or not self._is_open
            or commit.expected_version == 0
            or mailbox.pending
            or mailbox.conflicts
            or mailbox.solo
            or mailbox.foreign is not None
            or task.messages
            or task.transient_events
            or commit.batches
            or commit.add_tasks
            or commit.messages
            or commit.updates
            or commit.next_run is not None
        ):
            return False
        landing = cast(Waiting, poller).future
        if type(landing) is not Seat:
            return False
        if any(type(call.command) is CompleteWorkflowTask for call in mailbox.calls):
            return False  # the worker has the run in hand until it knows that this is durable
        kept = Kept(self._loop.time(), partial(self.write, mailbox))
        if not landing.put_early(task, commit.events, kept.durable):
            return False
        self._metrics.early += 1
        commit.dispatches = []
        mailbox.assigned = ()
        mailbox.kept = self._kept[mailbox] = kept
        if self._timer is None:
            self._timer = self._loop.call_later(self._kept_s, self._look)
        return True

    def write(self, mailbox: Mailbox) -> None:
        """Wait no longer. Without effect on one that does not wait, or is called: what is to be done then is near."""
        kept = self._kept.get(mailbox)
        if kept is not None and not kept.is_called:
            del self._kept[mailbox]
            kept.is_called = True
            self._write(mailbox)

    def _look(self) -> None:
        horizon = self._loop.time() - self._kept_s
        for mailbox, kept in list(self._kept.items()):
            if kept.since > horizon:
                break
            self.write(mailbox)
        self._timer = self._loop.call_later(self._kept_s / 2, self._look) if self._kept else None

    def go_on(self, mailbox: Mailbox) -> None:
        """Calls on a mailbox whose commit is kept back: the worker's answer goes with it, others follow."""
        if self._kept.pop(mailbox, None) is None:
            return
        first, call = mailbox.commit, mailbox.pending[0]
        assert first is not None and first.execution is not None, "a commit is kept back"
        command, execution = call.command, first.execution
        if (
            type(command) is CompleteWorkflowTask
            and call.run_id == execution.key.run_id
            and not call.future.done()
            and not takes_steps(command)
        ):
            mailbox.pending.popleft()
            calls = [*mailbox.calls, call]
            try:
                decision = decide(execution, [command], self._tell(execution))
                pollers = mailbox.assigned = self._matching.assign(decision.queued)
                second = decision.settle(pollers)
                if second.changed:
                    second.follow(first)
                    mailbox.commit = second
                else:
                    first.replies = first.replies + second.replies
            except Exception as error:
                mailbox.calls, mailbox.commit = [], None
                self._recover(mailbox, calls, error)
                self._serve(mailbox)
                return
            mailbox.calls = calls
        self._write(mailbox)
