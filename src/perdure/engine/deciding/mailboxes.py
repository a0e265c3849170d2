"""One mailbox per workflow id: the place where commands meet the law.

What is submitted waits in its mailbox until the loop's next turn; then everything that waits for a
workflow id is decided in one go and handed to the committer as one commit. No locks: a mailbox has
at most one commit in flight, and what comes meanwhile waits for the next. When a compare-and-set
is lost (another node was faster) the same commands are decided again on what is stored now.

    at rest --submit--> ready --decide--> committing --durable--> ready or at rest
                          |  ^---loaded---- loading
                          +----------------^

A StartWorkflow for a workflow id that is not in memory is decided on the guess that there is no
such run: the compare-and-set proves it, and nearly every start is spared a read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import Command, ResetWorkflow, SignalWithStart, StartWorkflow, Take, UpdateWithStart
from perdure.core.commit import Commit
from perdure.core.context import Context
from perdure.core.execution import MAY_BE_LONG, Execution, decide, decide_in_steps, takes_steps
from perdure.core.names import ExecutionKey, QueueName, TaskKind
from perdure.engine.deciding.cache import RestingCache
from perdure.engine.deciding.committer import Committer
from perdure.engine.deciding.contention import Contention
from perdure.engine.deciding.early import Early
from perdure.engine.deciding.loader import Loader
from perdure.engine.deciding.mailbox import Call, Mailbox, too_many
from perdure.engine.deciding.transactor import Transactor
from perdure.engine.deciding.turns import in_turns, let_go
from perdure.engine.feed.feed import Feed
from perdure.engine.matching.matching import Matching
from perdure.engine.node.clock import Clock
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.faults import Faults, as_rejected, broken, is_shortage, stopping
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.signal import Signal
from perdure.engine.node.zones import find_zone
from perdure.engine.submission import InTransaction, Read
from perdure.stores.api import Outcome, Store
from perdure.stores.encoding import join_in_steps

_log = logging.getLogger(__name__)

_STARTS = (StartWorkflow, SignalWithStart, UpdateWithStart, ResetWorkflow, Take)
"""Commands that may begin a run, and replace the one there is."""
_OF_THE_SHELL = (Read, InTransaction)
"""What is no command of the law."""
_APART = (*_OF_THE_SHELL, *_STARTS)
"""What is not decided together with commands before it."""


class Mailboxes:
    """See the module's text. Every commit is published in the feed once it is durable."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[], str],
        config: EngineConfig,
        metrics: Metrics,
        matching: Matching,
        feed: Feed,
        attribute_type: Callable[[str, str, int], int] | None = None,
    ) -> None:
        self._config = config
        self._is_shared = config.node is not None
        """Other nodes write to the store: what is in memory may be old (ADR 0010)."""
        self._tail_events_max, self._tail_bytes_max = config.tail_events_max, config.tail_bytes_max
        self._calls_max = config.calls_max
        self._calls_per_mailbox_max = config.calls_per_mailbox_max
        self._metrics = metrics
        self._matching = matching
        self._feed = feed
        self._now_ns = clock.now_ns
        self._context = Context(0, new_id, config.limits, find_zone, attribute_type)
        self._mailboxes: dict[tuple[str, str], Mailbox] = {}
        self._ready: deque[Mailbox] = deque()
        self._turn_is_due = False
        self._is_open = False
        self._long: set[asyncio.Task[None]] = set()
        """What decides in steps."""
        self._owed = 0
        self._gaps = 0
        self._cache = RestingCache(config.cache_bytes_max, config.closed_max, metrics, self._drop)
        self._committer = Committer(
            store, config.commit_batch_max, metrics, self._committed, self._broke, self._refused, feed.gap
        )
        self._early = Early(
            config, metrics, matching, self._tell, self._committer.add, self._recover_decision, self._go_on
        )
        self._transactor = Transactor(
            store, metrics, self._decide_in_transaction, self._transacted, self._not_transacted
        )
        self._faults = Faults(_log)
        self._loader = Loader(store, config.load_batch_max, metrics, self._loaded, self._broke)
        self.contention = Contention(self._make_ready, self._mailboxes.get, metrics)
        self._rooms = self.contention.rooms
        self.quiet = Signal()
        """Emitted whenever nothing is owed to anybody any more."""

    # --- life cycle -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Accept calls."""
        self._loop = asyncio.get_running_loop()
        await self._committer.start()
        await self._transactor.start()
        await self._loader.start()
        self._early.start()
        self._is_open = True

    async def stop(self) -> None:
        """Refuse new calls, answer those that wait (within `stop_grace_ns`), then stop."""
        self._is_open = False
        self._early.stop()
        if self._owed:
            quiet = asyncio.ensure_future(self.quiet.reached(self.quiet.count + 1))
            await asyncio.wait([quiet], timeout=self._config.stop_grace_ns / 1e9)
            quiet.cancel()
        await self.abort()

    async def abort(self) -> None:
        """Stop at once: what waits is answered UNAVAILABLE, whatever was being written may be durable or not."""
        self._is_open = False
        self._early.abort()
        self.contention.stop()
        await self._loader.stop()
        await self._committer.stop()
        await self._transactor.stop()
        for task in self._long:
            task.cancel()
        for mailbox in list(self._mailboxes.values()):
            self._fail([*mailbox.calls, *mailbox.pending], stopping())
            mailbox.calls = []
            mailbox.pending.clear()
            self._release(mailbox)
        self._mailboxes.clear()
        self._ready.clear()

    @property
    def committed(self) -> Signal:
        """Emitted for every store transaction that was tried."""
        return self._committer.batches

    def measure(self) -> None:
        """Write the present totals into the metrics."""
        self._metrics.waiting_calls = self._owed
        self._cache.measure()

    # --- in -------------------------------------------------------------------------------------

    def submit(
        self, namespace: str, workflow_id: str, run_id: str | None, command: Command | Read | InTransaction
    ) -> asyncio.Future[Any]:
        """Queue a command (or a read) for a run, None or empty: the current one.

        The future holds the reply, or `Rejected`. Cancelling it takes the command back if it was
        not decided yet, and otherwise changes nothing.
        Raises Rejected RESOURCE_EXHAUSTED when too much waits already, UNAVAILABLE when the engine is stopped.
        """
        if not self._is_open:
            raise stopping()
        place = (namespace, workflow_id)
        mailbox = self._mailboxes.get(place)
        if self._owed >= self._calls_max:
            raise too_many(workflow_id)
        if mailbox is None:
            mailbox = self._mailboxes[place] = Mailbox(namespace, workflow_id)
        elif len(mailbox.pending) >= self._calls_per_mailbox_max:
            raise too_many(workflow_id)
        future: asyncio.Future[Any] = self._loop.create_future()
        mailbox.pending.append(Call(run_id or None, command, future))
        self._owed += 1
        if not mailbox.busy:
            mailbox.busy = True
            self._make_ready(mailbox)
        elif mailbox.kept is not None and not mailbox.kept.is_called:
            mailbox.kept.is_called = True
            self._line_up(mailbox)
        return future

    def forget(self, key: ExecutionKey) -> None:
        """This run is not in the store any more: what is in memory of it is nothing."""
        mailbox = self._mailboxes.get((key.namespace, key.workflow_id))
        if mailbox is not None and mailbox.execution is not None and mailbox.execution.key == key:
            self._trust_no_more(mailbox)

    def overtaken(self, key: ExecutionKey, version: int) -> None:
        """Another node has committed this version: what was decided on an older state would be a conflict."""
        mailbox = self._mailboxes.get((key.namespace, key.workflow_id))
        if mailbox is not None and not mailbox.calls and mailbox.is_behind(key, version):
            self._trust_no_more(mailbox)
        if self._rooms:
            self.contention.release(key.namespace, key.workflow_id)

    def missed(self) -> None:
        """Another node may have committed what nobody told of here: no state in memory is known to be the newest."""
        self._gaps += 1

    def _trust_no_more(self, mailbox: Mailbox) -> None:
        if mailbox.busy:
            mailbox.forget()
        else:
            self._cache.take(mailbox)
            self._drop(mailbox)

    def peek(self, namespace: str, workflow_id: str) -> Mailbox | None:
        """The mailbox, if there is one in memory: for its `tail`."""
        return self._mailboxes.get((namespace, workflow_id))

    def _make_ready(self, mailbox: Mailbox) -> None:
        if not self._rooms or not self.contention.keeps(mailbox):
            self._line_up(mailbox)

    def _line_up(self, mailbox: Mailbox) -> None:
        self._ready.append(mailbox)
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Decide what is ready, but leave the event loop to others after a while."""
        self._turn_is_due = False
        ready = self._ready
        for _ in range(min(len(ready), self._config.turn_mailboxes_max)):
            mailbox = ready.popleft()
            try:
                self._step(mailbox)
            except Exception as error:  # a bug of the shell must not take the others along
                self._faults.tell(error, "workflow %r could not be served", mailbox.workflow_id)
                mailbox.calls.extend(mailbox.pending)
                mailbox.pending.clear()
                self._broke(mailbox, as_rejected(error))
        if ready and not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    # --- deciding -------------------------------------------------------------------------------

    def _step(self, mailbox: Mailbox) -> None:
        """Serve a mailbox until it commits, loads, or is empty."""
        if mailbox.kept is not None:
            self._early.go_on(mailbox)
            return
        pending = mailbox.pending
        while pending:
            head = pending[0]
            if head.future.done():
                pending.popleft()
                self._settle_debt(1)
                continue
            command, execution = head.command, mailbox.execution
            run_id = head.run_id
            is_foreign = run_id is not None and (execution is None or execution.key.run_id != run_id)
            if is_foreign or self._is_shared or not mailbox.is_known:
                if not self._has_state_for(mailbox, head, is_foreign):
                    return
                execution = mailbox.foreign_state if is_foreign else mailbox.execution
            if not isinstance(command, _OF_THE_SHELL):
                if self._decide(mailbox, head, execution):
                    return
            elif isinstance(command, Read):
                pending.popleft()
                self._look(execution, head, command)
            else:
                mailbox.calls = [pending.popleft()]
                self._transactor.add(mailbox)
                return
        self._rest(mailbox)

    def _has_state_for(self, mailbox: Mailbox, head: Call, is_foreign: bool) -> bool:
        """False: it was asked of the loader."""
        if self._is_shared and not mailbox.is_fresh and isinstance(head.command, Read):
            mailbox.forget_if_old(head.run_id, head.command.age, self._gaps)
        if not mailbox.is_known and not mailbox.may_guess(head):
            self._loader.add((mailbox, None))
            return False
        if is_foreign and (mailbox.foreign is None or mailbox.foreign[0] != head.run_id):
            self._loader.add((mailbox, head.run_id))
            return False
        return True

    def _look(self, execution: Execution | None, call: Call, read: Read) -> None:
        try:
            self._answer([call], [read.look(execution)])
        except Exception as error:
            rejected = error if isinstance(error, Rejected) else None
            if rejected is None:
                self._faults.tell(error, "a read failed")
                rejected = broken(f"Reading the execution failed: {error!r}")
            self._fail([call], rejected)

    def _decide(self, mailbox: Mailbox, head: Call, execution: Execution | None) -> bool:
        """Decide the calls at the head of the queue; True: a commit is under way, or will be."""
        if type(head.command) in MAY_BE_LONG and takes_steps(head.command):
            mailbox.solo = max(0, mailbox.solo - 1)
            mailbox.calls = [mailbox.pending.popleft()]
            steps = self._decide_in_steps(mailbox, head, execution)
            task = self._loop.create_task(steps, name=type(head.command).__name__)
            self._long.add(task)
            task.add_done_callback(self._long.discard)
            return True
        pending = mailbox.pending
        if len(pending) == 1:  # nearly always
            calls = [pending.popleft()]
            mailbox.solo = 0
        else:
            calls = self._take_calls(mailbox, head, execution)
        context = self._tell(execution)
        try:
            asked: list[Any] = [call.command for call in calls]
            decision = decide(execution, asked, context)
            assert len(decision.replies) == len(calls), "core answers every command"
            pollers = mailbox.assigned = self._matching.assign(decision.queued)
            commit = decision.settle(pollers)
        except Exception as error:
            self._recover_decision(mailbox, calls, error)
            return False
        return self._decided(mailbox, calls, commit)

    def _tell(self, execution: Execution | None) -> Context:
        """What the law is to know of this moment; the next call changes it."""
        context = self._context
        context.now_ns = self._now_ns()
        context.dead_queue = ""
        if execution is not None and execution.facts.sticky_queue and execution.current_task is None:
            queue = QueueName(execution.key.namespace, execution.facts.sticky_queue, TaskKind.WORKFLOW)
            if not self._matching.is_polled(queue) and not self._matching.polled_elsewhere(queue):
                context.dead_queue = queue.name
        self._metrics.decisions += 1
        return context

    async def _decide_in_steps(self, mailbox: Mailbox, call: Call, execution: Execution | None) -> None:
        """As `_decide`, of one command that does much; the mailbox is busy until then, and others have their turns."""
        context = replace(self._tell(execution))
        steps = decide_in_steps(execution, cast(Command, call.command), context)
        try:
            decision = await in_turns(steps)
            pollers = mailbox.assigned = self._matching.assign(decision.queued)
            commit = decision.settle(pollers)
            await in_turns(join_in_steps(commit))
        except Exception as error:
            mailbox.calls = []
            self._recover_decision(mailbox, [call], error)
            self._go_on(mailbox)
            return
        mailbox.calls = []
        if not self._decided(mailbox, [call], commit):
            self._go_on(mailbox)
        while mailbox.commit is commit:  # the last to hold what is large in it is this task
            await self.committed.reached(self.committed.count + 1)
        await let_go(commit)

    def _decided(self, mailbox: Mailbox, calls: list[Call], commit: Commit) -> bool:
        """True: what was decided is to be written; else it is answered."""
        if commit.changed:
            mailbox.calls = calls
            mailbox.commit = commit
            if len(commit.dispatches) != 1 or not self._early.keeps(mailbox, commit):
                self._committer.add(mailbox)
            return True
        mailbox.foreign = None
        if self._is_shared and mailbox.is_known and not mailbox.is_fresh:
            self._doubt(mailbox, calls)
        else:
            self._answer(calls, commit.replies)
        return False

    def _take_calls(self, mailbox: Mailbox, head: Call, execution: Execution | None) -> list[Call]:
        """The calls from the head on that can be decided together: same run, no read, no start that replaces a run."""
        pending = mailbox.pending
        calls = [pending.popleft()]
        if mailbox.solo:
            mailbox.solo -= 1
            return calls
        run_id = None if execution is None else execution.key.run_id
        foreign = mailbox.is_foreign(head)
        room = self._config.decide_calls_max
        alone = isinstance(head.command, Take if execution is None else _STARTS)
        while pending and len(calls) < room and not alone:
            call = pending[0]
            same = call.run_id == head.run_id if foreign else call.run_id is None or call.run_id == run_id
            if not same or isinstance(call.command, _APART) or takes_steps(call.command):
                break
            pending.popleft()
            if call.future.done():
                self._settle_debt(1)
            else:
                calls.append(call)
        return calls

    def _decide_in_transaction(self, mailbox: Mailbox) -> Commit | None:
        """The commit of the one call in hand, after its function has written; None: what it wrote is dropped.

        The state cannot have moved meanwhile: nothing else of this workflow id is decided while the mailbox is busy.
        """
        [call] = mailbox.calls
        asked = cast(InTransaction, call.command)
        execution = mailbox.foreign_state if mailbox.is_foreign(call) else mailbox.execution
        try:
            decision = decide(execution, [asked.command], self._tell(execution))
            pollers = mailbox.assigned = self._matching.assign(decision.queued)
            commit = decision.settle(pollers)
        except Exception as error:
            mailbox.calls = []
            self._recover_decision(mailbox, [call], error)
            return None
        if not commit.changed:
            mailbox.calls = []
            if self._is_shared and not mailbox.is_fresh:
                self._doubt(mailbox, [call])
            else:
                self._answer([call], commit.replies)
            return None
        if not isinstance(commit.replies[0], Rejected):
            commit.replies = [True]
        mailbox.commit = commit
        return commit

    def _transacted(self, mailbox: Mailbox, outcome: Outcome | None) -> None:
        """None: nothing of it was to be kept."""
        if mailbox.commit is not None:
            self._committed(mailbox, outcome or Outcome.CONFLICT)
            return
        calls, mailbox.calls = mailbox.calls, []
        if outcome is Outcome.CONFLICT:  # it was in a transaction that another one ended
            mailbox.pending.extendleft(reversed(calls))
        else:
            self._answer(calls, [False] * len(calls))
        self._go_on(mailbox)

    def _not_transacted(self, mailbox: Mailbox, error: Rejected) -> None:
        if mailbox.commit is not None:
            self._broke(mailbox, error)
            return
        calls, mailbox.calls = mailbox.calls, []
        self._fail(calls, error)
        self._go_on(mailbox)

    def _recover_decision(self, mailbox: Mailbox, calls: list[Call], error: Exception) -> None:
        """Core raised, which is a bug: the state may be half changed, and one of the calls is to blame."""
        self._metrics.decision_errors += 1
        self._release(mailbox)
        mailbox.forget()
        if len(calls) > 1:
            mailbox.pending.extendleft(reversed(calls))
            mailbox.solo = len(calls)
            return
        name = type(calls[0].command).__name__
        if is_shortage(error):
            self._fail(calls, as_rejected(error))
            return
        self._faults.tell(error, "deciding %s on workflow %r raised", name, mailbox.workflow_id)
        self._fail(calls, broken(f"Deciding {name} failed, nothing was changed: {error!r}"))

    def _doubt(self, mailbox: Mailbox, calls: list[Call]) -> None:
        """Nothing was written, so nothing proved that the state was current: decide again on what is stored now."""
        mailbox.forget()
        mailbox.conflicts += 1  # no guess now: it was one
        mailbox.pending.extendleft(reversed(calls))

    # --- out ------------------------------------------------------------------------------------

    def _loaded(self, mailbox: Mailbox, run_id: str | None, execution: Execution | None) -> None:
        if run_id is None:
            mailbox.learn(execution, self._gaps)
        else:
            mailbox.foreign = (run_id, execution)
        self._make_ready(mailbox)

    def _committed(self, mailbox: Mailbox, outcome: Outcome) -> None:
        commit = mailbox.commit
        assert commit is not None
        mailbox.commit = None
        if outcome is Outcome.CONFLICT:
            self._lost_race(mailbox)
            return
        mailbox.conflicts = 0
        mailbox.assigned = ()
        if mailbox.kept is not None:
            mailbox.end_kept(True)
        self._metrics.commits += 1
        try:
            if mailbox.foreign is None:
                mailbox.settle(commit, self._tail_events_max, self._tail_bytes_max, self._gaps)
            else:
                mailbox.forget()
            self._feed.publish(commit)
            if commit.dispatches or not commit.is_plain:
                self._matching.deliver(commit)
        except Exception as error:  # what was not delivered is found by its time-out; the answer is durable
            self._faults.tell(error, "a commit of workflow %r could not be published", mailbox.workflow_id)
            mailbox.forget()
        calls, mailbox.calls = mailbox.calls, []
        self._answer(calls, commit.replies)
        self._go_on(mailbox)

    def _lost_race(self, mailbox: Mailbox) -> None:
        """Another node was faster, or a guess was wrong: decide the same again on what is stored now."""
        self._metrics.conflicts += 1
        calls, mailbox.calls = mailbox.calls, []
        self._release(mailbox)
        mailbox.forget()
        mailbox.conflicts += 1
        if mailbox.conflicts > self._config.conflict_tries_max:
            mailbox.conflicts = 0
            message = f"Workflow {mailbox.workflow_id!r} is being changed by too many at once: try again."
            self._fail(calls, Rejected(StatusCode.UNAVAILABLE, message))
        else:
            mailbox.pending.extendleft(reversed(calls))
            self.contention.lost(mailbox)
        self._go_on(mailbox)

    def _refused(self, mailbox: Mailbox, error: Rejected) -> None:
        """The commit cannot be stored. One of its calls is to blame: the others are decided again without it."""
        calls = mailbox.calls
        if len(calls) == 1:
            self._broke(mailbox, error)
            return
        mailbox.calls, mailbox.commit = [], None
        self._release(mailbox)
        mailbox.forget()
        mailbox.pending.extendleft(reversed(calls))
        mailbox.solo = len(calls)
        self._go_on(mailbox)

    def _broke(self, mailbox: Mailbox, error: Rejected) -> None:
        """The store could not load or write: whoever waits is told, nobody else is hurt."""
        commit, mailbox.commit = mailbox.commit, None
        calls, mailbox.calls = mailbox.calls, []
        if commit is None:
            calls = [*calls, *mailbox.pending]
            mailbox.pending.clear()
        self._release(mailbox)
        mailbox.forget()
        mailbox.conflicts = mailbox.solo = 0
        self._fail(calls, error)
        self._go_on(mailbox)

    def _release(self, mailbox: Mailbox) -> None:
        """What was decided is not: whoever was to get a task waits on."""
        pollers, mailbox.assigned = mailbox.assigned, ()
        self._matching.release(pollers)
        mailbox.end_kept(False)

    def _go_on(self, mailbox: Mailbox) -> None:
        mailbox.foreign = None
        if mailbox.pending:
            self._make_ready(mailbox)
        else:
            self._rest(mailbox)

    def _rest(self, mailbox: Mailbox) -> None:
        mailbox.busy = mailbox.is_fresh = False
        mailbox.solo = mailbox.conflicts = 0
        if mailbox.execution is None:
            self._cache.take(mailbox)
            self._drop(mailbox)
        else:
            self._cache.put(mailbox)

    def _drop(self, mailbox: Mailbox) -> None:
        del self._mailboxes[mailbox.namespace, mailbox.workflow_id]

    # --- answers --------------------------------------------------------------------------------

    def _answer(self, calls: list[Call], replies: Iterable[Any]) -> None:
        for call, reply in zip(calls, replies, strict=True):
            future = call.future
            if future.done():
                continue
            if isinstance(reply, Rejected):
                future.set_exception(reply)
            else:
                future.set_result(reply)
        self._owed -= len(calls)
        if not self._owed:
            self.quiet.emit()

    def _fail(self, calls: list[Call], error: Rejected) -> None:
        for call in calls:
            if not call.future.done():
                call.future.set_exception(error.copy())
        self._settle_debt(len(calls))

    def _settle_debt(self, count: int) -> None:
        self._owed -= count
        if not self._owed:
            self.quiet.emit()
