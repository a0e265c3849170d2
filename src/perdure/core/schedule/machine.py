"""What a schedule does: at a time, when it is changed, when something that it started ends.

`Machine` is a schedule's state with what is computed from it. The shell loads it, calls one of its methods with the
time, stores the state if it changed, and then does what the state asks for: start what is in `starting`, stop
`to_stop()`, come back at `wake_at_ns()`.

    times that passed --advance--> buffer --overlap policy--> starting --the shell--> running --ends--> (buffer again)

How far the policies reach:

| policy | while something runs, a further start |
|---|---|
| SKIP | is dropped |
| BUFFER_ONE | waits, unless one waits already |
| BUFFER_ALL | waits |
| CANCEL_OTHER, TERMINATE_OTHER | waits until what runs has been stopped; a newer one takes its place |
| ALLOW_ALL | starts |
"""

from __future__ import annotations

from temporalio.api.enums.v1 import ScheduleOverlapPolicy as Overlap
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.schedule.v1 import BackfillRequest, Schedule, SchedulePatch, TriggerImmediatelyRequest

from perdure.api.bounds import DURATION_MAX_NS
from perdure.api.times import LONG_MIN, NS_PER_SECOND, duration, duration_ns, timestamp_ns
from perdure.core.refusals import invalid
from perdure.core.schedule import state as states
from perdure.core.schedule.spec import Budget, FindZone, Occurrence, Times, Unfinished, canonical
from perdure.core.schedule.state import Action, Backfill, Running, Start, State

SKIP = Overlap.SCHEDULE_OVERLAP_POLICY_SKIP
BUFFER_ONE = Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE
BUFFER_ALL = Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL
CANCEL_OTHER = Overlap.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER
TERMINATE_OTHER = Overlap.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER
ALLOW_ALL = Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
RUNNING = Status.WORKFLOW_EXECUTION_STATUS_RUNNING
COMPLETED = Status.WORKFLOW_EXECUTION_STATUS_COMPLETED
_FAILURES = {
    int(Status.WORKFLOW_EXECUTION_STATUS_FAILED): "failure",
    int(Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT): "timeout",
}
"""Statuses that `pause_on_failure` means, and the word for them."""

CATCHUP_DEFAULT_NS = 365 * 86_400 * NS_PER_SECOND
CATCHUP_MIN_NS = 10 * NS_PER_SECOND
_STEP_MAX = 500
"""Times looked at in one go: the shell has others to serve between two of them."""
_CARRY_OUT_NS = 10 * NS_PER_SECOND
"""After this, somebody else may carry out what is in `starting`: whoever began is probably dead."""
_BACKFILL_ROOM = states.BUFFER_MAX // 2
"""A backfill fills the buffer up to here, and waits: its actions are never dropped."""


def prepared(schedule: Schedule, find_zone: FindZone) -> Schedule:
    """A schedule as it is kept: canonical specification, policies with their defaults. Raises BadSpec."""
    kept = Schedule()
    kept.CopyFrom(schedule)
    kept.spec.CopyFrom(canonical(schedule.spec, find_zone))
    kept.action.start_workflow.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
    policies = kept.policies
    policies.overlap_policy = policies.overlap_policy or SKIP
    window_ns = duration_ns(policies.catchup_window) if policies.HasField("catchup_window") else CATCHUP_DEFAULT_NS
    policies.catchup_window.CopyFrom(duration(min(max(window_ns, CATCHUP_MIN_NS), DURATION_MAX_NS)))
    return kept


class Machine:
    """See the module's text. `seed`: what makes the jitter of this schedule its own."""

    def __init__(self, state: State, find_zone: FindZone, seed: bytes) -> None:
        self.state = state
        self.schedule = Schedule.FromString(state.schedule)
        self._find_zone = find_zone
        self._seed = seed
        self.times = Times(self.schedule.spec, find_zone, seed)

    # --- what the shell does next ---------------------------------------------------------------

    def wake_at_ns(self, now_ns: int) -> int | None:
        """When there is something to do again; None: not before something else happens."""
        state = self.state
        if state.parked:
            return None
        if state.starting:
            return now_ns + _CARRY_OUT_NS
        if state.backfills and len(state.buffer) < _BACKFILL_ROOM:
            return now_ns
        if not self._may_act():
            return None
        try:
            following = self.times.next(state.processed_ns)
        except Unfinished as search:  # nothing comes up to there: the search goes on when that time has come
            return max(search.after_ns, now_ns)
        return None if following is None else max(following.at_ns, now_ns)

    def to_stop(self) -> tuple[list[Running], bool]:
        """Runs that must end before the first of the buffer may start, and whether by force."""
        state = self.state
        if not state.buffer or state.starting or state.parked:
            return [], False
        policy = self._policy(state.buffer[0])
        if policy not in (CANCEL_OTHER, TERMINATE_OTHER):
            return [], False
        return [run for run in state.running if not run.overlapping], policy == TERMINATE_OTHER

    def future_times(self, now_ns: int, limit: int) -> list[int]:
        """When the next actions are due, in nanoseconds since the epoch; also of a schedule that is paused.

        Fewer than `limit` when the others take long to find.
        """
        state = self.schedule.state
        if state.limited_actions:
            limit = min(limit, state.remaining_actions)
        found: list[int] = []
        if self.state.parked:
            return found
        at_ns = max(now_ns, self.state.processed_ns)
        budget = Budget()
        while len(found) < limit and not budget.is_spent:
            try:
                following = self.times.next(at_ns, budget)
            except Unfinished:
                break
            if following is None:
                break
            at_ns = following.at_ns
            found.append(at_ns)
        return found

    def times_between(self, after_ns: int, end_ns: int, limit: int) -> tuple[list[int], int | None]:
        """Times of actions later than `after_ns` and up to `end_ns`, and from where to go on; None: that was all."""
        found: list[int] = []
        budget = Budget()
        while len(found) < limit:
            try:
                following = self.times.next(after_ns, budget)
            except Unfinished as search:
                return found, search.after_ns if search.after_ns < end_ns else None
            if following is None or following.at_ns > end_ns:
                break
            after_ns = following.at_ns
            found.append(after_ns)
            if budget.is_spent:
                return found, after_ns
        return found, None

    # --- time -----------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        """Deal with the times that have come, or with the next few hundred of them, and start what may start."""
        if self.state.parked:
            return
        self._take_due(now_ns)
        self._take_backfills(now_ns)
        self._drain()

    def _take_due(self, now_ns: int) -> None:
        budget = Budget()
        state = self.state
        if not self._may_act():
            state.processed_ns = max(state.processed_ns, now_ns)
            return
        window_ns = duration_ns(self.schedule.policies.catchup_window)
        for _ in range(_STEP_MAX):
            try:
                due = self.times.next(state.processed_ns, budget)
            except Unfinished as search:
                state.processed_ns = max(state.processed_ns, min(search.after_ns, now_ns))
                break
            if due is None or due.at_ns > now_ns:
                break
            state.processed_ns = due.nominal_ns
            if now_ns - due.at_ns > window_ns:
                state.missed_catchup_window += 1
            else:
                self._buffer(Start(due.nominal_ns, due.at_ns, 0, False))
            if budget.is_spent:
                break

    def _take_backfills(self, now_ns: int) -> None:
        budget = Budget()  # its own: a search for what is due must not keep it from going on
        state = self.state
        while state.backfills and len(state.buffer) < _BACKFILL_ROOM and not budget.is_spent:
            backfill = state.backfills[0]
            try:
                due = self.times.next(backfill.after_ns, budget)
            except Unfinished as search:
                backfill.after_ns = search.after_ns
                if search.after_ns > backfill.end_ns:
                    state.backfills.pop(0)
                continue
            if due is None or due.at_ns > backfill.end_ns:
                state.backfills.pop(0)
                continue
            backfill.after_ns = due.nominal_ns
            self._buffer(Start(due.nominal_ns, now_ns, backfill.overlap_policy, True))

    def _buffer(self, start: Start) -> None:
        if len(self.state.buffer) >= states.BUFFER_MAX:
            self.state.buffer_dropped += 1
        else:
            self.state.buffer.append(start)

    def _may_act(self) -> bool:
        """Whether the schedule acts by itself."""
        state = self.schedule.state
        return not state.paused and (not state.limited_actions or state.remaining_actions > 0)

    def _policy(self, start: Start) -> int:
        return start.overlap_policy or self.schedule.policies.overlap_policy

    # --- overlap --------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Take from the buffer what may start, and drop what may never."""
        state = self.state
        if state.parked:
            return
        waiting, state.buffer = state.buffer, []
        busy = any(not run.overlapping for run in state.running) or any(not one.overlapping for one in state.starting)
        chosen: Start | None = None
        for start in waiting:
            policy = self._policy(start)
            if policy == ALLOW_ALL:
                start.overlapping = True
                self._begin(start)
            elif not busy and chosen is None:
                chosen = start
            elif policy in (CANCEL_OTHER, TERMINATE_OTHER):
                if busy:
                    self._supersede(start)
                else:
                    state.overlap_skipped += 1
                    chosen = start
            elif policy == BUFFER_ALL or (policy == BUFFER_ONE and not self._one_waits()):
                state.buffer.append(start)
            else:
                state.overlap_skipped += 1
        if chosen is not None:
            self._begin(chosen)

    def _one_waits(self) -> bool:
        return any(self._policy(start) == BUFFER_ONE for start in self.state.buffer)

    def _supersede(self, newer: Start) -> None:
        """Of the starts that wait until others are stopped, only the newest still matters."""
        stopping = (CANCEL_OTHER, TERMINATE_OTHER)
        others = [start for start in self.state.buffer if self._policy(start) not in stopping]
        self.state.overlap_skipped += len(self.state.buffer) - len(others)
        self.state.buffer = [newer, *others]

    def _begin(self, start: Start) -> None:
        """Write down that it is to be carried out, unless the schedule's actions are used up."""
        limits = self.schedule.state
        if not start.manual:
            if limits.limited_actions:
                if not limits.remaining_actions:
                    return
                limits.remaining_actions -= 1
                self._changed()
            elif limits.paused:
                return
        start.number = self.state.next_number
        self.state.next_number += 1
        self.state.starting.append(start)

    def _changed(self) -> None:
        """The schedule itself is another one than a client has seen."""
        self.state.conflict_token += 1
        self.state.schedule = self.schedule.SerializeToString()

    # --- what became of starts ------------------------------------------------------------------

    def started(self, number: int, workflow_id: str, run_id: str, now_ns: int) -> None:
        """The action runs. A repetition changes nothing."""
        state = self.state
        start = self._carried_out(number)
        if start is None:
            return
        state.action_count += 1
        state.recent.append(Action(start.nominal_ns, now_ns, workflow_id, run_id, RUNNING))
        del state.recent[: -states.RECENT_MAX]
        state.running.append(Running(workflow_id, run_id, run_id, start.overlapping))
        overlapping = [run for run in state.running if run.overlapping]
        if len(overlapping) > states.OVERLAPPING_MAX:
            state.running.remove(overlapping[0])

    def refused(self, number: int) -> None:
        """The action cannot be started, now or later: its workflow id is taken, or the request is not sound."""
        if self._carried_out(number) is not None:
            self._drain()

    def _carried_out(self, number: int) -> Start | None:
        for start in self.state.starting:
            if start.number == number:
                self.state.starting.remove(start)
                return start
        return None

    # --- what became of runs --------------------------------------------------------------------

    def continued(self, run: Running, next_run_id: str) -> None:
        """The chain of an action goes on in another run."""
        run.current_run_id = next_run_id

    def ended(self, run_id: str, status: int, result: bytes = b"", failure: bytes = b"", message: str = "") -> None:
        """The chain of runs that began with `run_id` is over; 0: it is gone, and nobody knows how it ended.

        `result` and `failure` are serialised `Payloads` and `Failure`. A repetition changes nothing.
        """
        state = self.state
        for action in state.recent:
            if action.run_id == run_id:
                action.status = status
        found = [run for run in state.running if run.run_id == run_id]
        if not found:
            return
        state.running.remove(found[0])
        if status == COMPLETED:
            state.last_result, state.last_failure = result, b""
        elif status in _FAILURES:
            state.last_failure = failure
            if self.schedule.policies.pause_on_failure and not self.schedule.state.paused:
                self._pause_after(found[0], _FAILURES[status], message)
        self._drain()

    def _pause_after(self, run: Running, word: str, message: str) -> None:
        self.schedule.state.paused = True
        why = f"{run.workflow_id}: {message}" if message else run.workflow_id
        self.schedule.state.notes = f"paused due to workflow {word}: {why}"
        self._changed()

    # --- changes --------------------------------------------------------------------------------

    def update(self, schedule: Schedule, now_ns: int) -> None:
        """Replace the schedule, which is `prepared`, from now on."""
        self.state.parked = ""
        self.advance(now_ns)
        pending = self._next_or_none(self.state.processed_ns)
        self.schedule = schedule
        self.times = Times(schedule.spec, self._find_zone, self._seed)
        self.state.processed_ns = self._processed_until(now_ns, pending)
        self.state.updated_at_ns = now_ns
        self._changed()
        self._drain()

    def _processed_until(self, now_ns: int, pending: Occurrence | None) -> int:
        """Now; unless jitter holds back a time that has come, and the new specification knows it too."""
        if pending is not None and pending.nominal_ns <= now_ns:
            before_ns = pending.nominal_ns - 1
            again = self._next_or_none(before_ns)
            if again is not None and again.nominal_ns == pending.nominal_ns:
                return before_ns
        return max(self.state.processed_ns, now_ns)

    def _next_or_none(self, after_ns: int) -> Occurrence | None:
        """None also when it takes long to find: then it is far."""
        try:
            return self.times.next(after_ns)
        except Unfinished:
            return None

    def patch(self, patch: SchedulePatch, now_ns: int) -> None:
        """Pause, unpause, trigger and backfill. One that was parked is tried again.

        Raises Rejected INVALID_ARGUMENT for too many backfills.
        """
        self.state.parked = ""
        self.advance(now_ns)
        if patch.HasField("trigger_immediately"):
            self._trigger(patch.trigger_immediately, now_ns)
        for request in patch.backfill_request:
            self._backfill(request)
        for note, paused in ((patch.pause, True), (patch.unpause, False)):
            if note:
                self.schedule.state.paused = paused
                self.schedule.state.notes = note
                self._changed()
        self.advance(now_ns)

    def _trigger(self, request: TriggerImmediatelyRequest, now_ns: int) -> None:
        nominal_ns = timestamp_ns(request.scheduled_time) if request.HasField("scheduled_time") else now_ns
        self._buffer(Start(nominal_ns, now_ns, request.overlap_policy, True))

    def _backfill(self, request: BackfillRequest) -> None:
        if len(self.state.backfills) >= states.BACKFILLS_MAX:
            raise invalid(f"too many backfills wait: more than {states.BACKFILLS_MAX}")
        start_ns, end_ns = timestamp_ns(request.start_time), timestamp_ns(request.end_time)
        self.state.backfills.append(Backfill(max(start_ns - 1, LONG_MIN), end_ns, request.overlap_policy))


def new_state(
    uid: str, schedule: Schedule, now_ns: int, *, request_id: str = "", memo: bytes = b"", attributes: bytes = b""
) -> State:
    """Of a schedule, which is `prepared`, that begins now."""
    return State(uid, schedule.SerializeToString(), now_ns, now_ns, request_id, memo=memo, search_attributes=attributes)


def is_repeated(state: State, request_id: str) -> bool:
    """Whether a change with this request id was made before; if not, it is remembered from here on."""
    if not request_id:
        return False
    if request_id in state.requests:
        return True
    state.requests.append(request_id)
    del state.requests[: -states.REQUESTS_MAX]
    return False
