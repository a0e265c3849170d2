"""A restart that knows its workers died with it."""

from __future__ import annotations

from perdure.api import enums
from perdure.api.errors import StatusCode
from perdure.core import commands as law
from tests.core import given
from tests.core.given import World, after, in_first_task, refused, retry, schedule, timer
from tests.core.test_workflow_task import sticky


def test_a_started_workflow_task_is_owed_again_at_once() -> None:
    world, _ = in_first_task()
    assert world.run.in_flight
    world.lose_workers()
    assert world.tail(1) == ["WorkflowTaskTimedOut"]
    assert not world.run.in_flight
    assert world.workflow_task().attempt == 2


def test_a_task_on_a_dead_workers_own_queue_goes_to_the_normal_queue() -> None:
    world, task = in_first_task()
    world.complete_task(task, timer(), sticky_attributes=sticky())
    world.elapse(1)
    assert world.run.in_flight
    world.lose_workers()
    assert not world.workflow_task().sticky


def test_an_activity_that_may_run_once_is_never_run_twice() -> None:
    world = after(schedule(policy=retry(attempts=1)))
    world.activity_task()
    assert world.run.in_flight
    world.lose_workers()
    assert world.tail(3) == ["ActivityTaskStarted", "ActivityTaskTimedOut", "WorkflowTaskScheduled"]
    timed_out = world.history[-2].activity_task_timed_out_event_attributes
    assert timed_out.failure.timeout_failure_info.timeout_type == enums.START_TO_CLOSE


def test_an_activity_that_may_run_again_does_so_without_a_wait() -> None:
    world = after(schedule(policy=retry(initial=3600)))
    world.activity_task()
    world.lose_workers()
    assert world.activity_task().attempt == 2


def test_a_restart_with_mended_code_does_not_wait_out_the_failures_of_the_old_one() -> None:
    world, task = in_first_task()
    for _ in range(3):
        world.fail_task(task)
        attempt = task.attempt
        if world.run.facts.task_not_before_ns:
            break
        task = world.workflow_task()
    assert world.run.in_flight
    world.lose_workers()
    assert world.workflow_task().attempt == attempt + 1


def test_updates_wait_for_a_task_however_many_workers_died_with_it() -> None:
    world, _ = in_first_task()
    world.update("first")
    for _ in range(5):
        world.lose_workers()
        assert world.workflow_task().attempt == 2
    world.update("second")
    assert list(world.run.facts.updates) == ["first", "second"]


def test_what_nobody_held_stays_as_it_is() -> None:
    world = after(schedule(), timer())
    assert not world.run.in_flight
    assert not world.when(law.LoseWorkers()).changed
    world.terminate()
    assert not world.when(law.LoseWorkers()).changed


def test_stickiness_to_a_dead_worker_is_forgotten() -> None:
    world, task = in_first_task()
    world.complete_task(task, timer(), sticky_attributes=sticky())
    world.lose_workers()
    world.elapse(1)
    assert not world.workflow_task().sticky
    assert given.names(world.history[-1:]) == ["WorkflowTaskStarted"]
    assert isinstance(world, World)


# --- of one node ----------------------------------------------------------------------------------


def test_a_workflow_task_is_lost_with_its_own_node_alone() -> None:
    world = World()
    world.start()
    task = world.workflow_task(home="one")
    world.lose_workers("two")
    world.complete_task(task, timer(), sticky_attributes=sticky())
    world.elapse(1)
    world.lose_workers("two")
    assert world.workflow_task("sticky", home="one").sticky
    world.lose_workers("one")
    assert world.tail(1) == ["WorkflowTaskTimedOut"]
    assert not world.workflow_task().sticky


def test_a_task_on_the_queue_of_a_dead_node_goes_to_the_normal_queue() -> None:
    world = World()
    world.start()
    world.complete_task(world.workflow_task(home="one"), timer(), sticky_attributes=sticky())
    world.elapse(1)
    world.lose_workers("one")
    assert not world.workflow_task(home="two").sticky
    assert world.run.facts.task_home == "two"


def test_attempts_are_lost_with_their_own_node_alone() -> None:
    world = after(schedule("here", policy=retry(initial=3600)), schedule("there"), schedule("far"), schedule("eager"))
    here = world.activity_task("here", home="one")
    there = world.activity_task("there", home="two")
    far = world.activity_task("far")
    world.lose_workers("one")
    assert refused(lambda: world.complete_activity(here)).code is StatusCode.NOT_FOUND, "it was too slow"
    assert world.activity_task("here", home="two").attempt == 2
    world.complete_activity(there)
    world.complete_activity(far)
    assert world.tail(6).count("ActivityTaskCompleted") == 2


def test_an_attempt_that_goes_back_with_an_answer_is_lost_with_the_node_of_who_answered() -> None:
    world = World()
    world.start()
    command = schedule("eager")
    command.schedule_activity_task_command_attributes.request_eager_execution = True
    [eager] = world.complete_task(world.workflow_task(home="one"), command).activity_tasks
    world.lose_workers("two")
    world.lose_workers("one")
    assert refused(lambda: world.complete_activity(eager)).code is StatusCode.NOT_FOUND
    assert world.activity_task("eager").attempt == 2


def test_what_no_node_dies_with_is_lost_with_none() -> None:
    world, task = in_first_task()
    version = world.run.version
    world.lose_workers("one")
    assert world.run.version == version, "and nothing is written"
    world.complete_task(task, timer())


# --- of an engine that workers in other processes outlive -----------------------------------------

ALIVE, DEAD = "00000000000a11e", "00000000000dead"


def test_attempts_of_workers_that_outlive_the_engine_are_left_to_them() -> None:
    world = after(schedule("mine"), schedule("dead"), schedule("theirs"))
    world.activity_task("mine")
    world.activity_task("dead", home=DEAD)
    theirs = world.activity_task("theirs", home=ALIVE)
    world.lose_workers(living=[ALIVE])
    assert world.activity_task("mine").attempt == 2
    assert world.activity_task("dead").attempt == 2
    world.complete_activity(theirs)
    assert "ActivityTaskCompleted" in world.tail(2)


def test_who_gets_the_next_attempt_is_asked_for_and_not_who_had_the_first() -> None:
    world = after(schedule())
    world.activity_task(home=DEAD)
    world.lose_workers(living=[ALIVE])
    world.activity_task(home=ALIVE)
    assert not world.when(law.LoseWorkers(living=frozenset([ALIVE]))).changed
    assert world.when(law.LoseWorkers()).changed


def test_the_workflow_task_of_a_worker_that_outlives_the_engine_is_left_to_it() -> None:
    world = World()
    world.start()
    task = world.workflow_task(home=ALIVE)
    assert not world.when(law.LoseWorkers(living=frozenset([ALIVE]))).changed
    world.complete_task(task, timer(), sticky_attributes=sticky())
    world.elapse(1)
    world.lose_workers(living=[ALIVE])
    assert world.workflow_task("sticky", home=ALIVE).sticky, "and it still has the run in memory"
    world.lose_workers(living=[DEAD])
    assert world.tail(1) == ["WorkflowTaskTimedOut"]
