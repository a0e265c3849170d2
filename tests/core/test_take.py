"""What a record asks for: done with the record, in one commit, or left with it."""

from __future__ import annotations

from perdure.api.errors import Rejected, StatusCode
from perdure.core import commands as law
from perdure.core.names import RecordRef
from perdure.core.replies import Started, Taken
from tests.core.given import World, names, signal_request, start_request, with_start_request

RECORD = RecordRef("request", "default", "order-1 and when", 1)


def take(command: law.StartWorkflow | law.Signal | law.SignalWithStart) -> law.Take:
    return law.Take(command, RECORD)


def test_a_start_takes_its_record_along_and_the_same_again_leaves_it() -> None:
    world = World()
    commit = world.when(take(law.StartWorkflow(start_request())))
    assert names(commit.events) == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]
    assert commit.take_records == [RECORD]
    [taken] = commit.replies
    assert isinstance(taken, Taken)
    assert taken.is_taken
    assert isinstance(taken.reply, Started)
    again = world.when(take(law.StartWorkflow(start_request())))
    assert not again.changed
    assert again.take_records == []
    assert [reply.is_taken for reply in again.replies] == [False]


def test_a_signal_takes_its_record_along_and_the_same_again_leaves_it() -> None:
    world = World()
    world.start()
    request = signal_request(request_id="once")
    assert world.when(take(law.Signal(request))).take_records == [RECORD]
    again = world.when(take(law.Signal(request)))
    assert (again.changed, again.take_records) == (False, [])


def test_a_start_that_ends_another_run_takes_its_record_along_once() -> None:
    world = World()
    world.start()
    commit = world.when(take(law.SignalWithStart(with_start_request(request_id="another"))))
    links = [commit] if commit.next_run is None else [commit, commit.next_run]
    assert [record for link in links for record in link.take_records] == [RECORD]


def test_what_is_refused_leaves_its_record() -> None:
    world = World()
    world.start()
    commit = world.when(take(law.StartWorkflow(start_request(request_id="another"))))
    assert (commit.changed, commit.take_records) == (False, [])
    [refusal] = commit.replies
    assert isinstance(refusal, Rejected)
    assert refusal.code is StatusCode.ALREADY_EXISTS
