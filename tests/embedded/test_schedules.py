"""`engine.schedules`, as a user writes it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner

from perdure import Engine, WorkflowStatus, activity, call, workflow
from perdure.cli.main import cli
from perdure.errors import ScheduleAlreadyExistsError, ScheduleNotFoundError
from perdure.schedules import Calendar, Overlap
from tests.eventually import eventually

billed = threading.Semaphore(0)


@activity
def send_bill(customer: str) -> str:
    billed.release()
    return f"billed {customer}"


@workflow
def bill(customer: str) -> str:
    return call(send_bill, customer)


def wait_for(count: int) -> None:
    for _ in range(count):
        assert billed.acquire(timeout=30)


def ended(engine: Engine, schedule_id: str, count: int, total: int) -> list[str]:
    """Results of the last so many runs, when there were so many in all: a start is noted just after it is made."""
    wait_for(count)
    eventually(lambda: engine.schedules.describe(schedule_id).action_count >= total, f"{total} starts are noted")
    recent = engine.schedules.describe(schedule_id).recent[-count:]
    return [engine.get(run.workflow_id).result(timeout="30s") for run in recent]


def test_a_schedule_from_its_making_to_its_end(tmp_path: Path) -> None:
    with Engine(f"sqlite:///{tmp_path}/bills.db") as engine:
        schedules = engine.schedules
        schedules.create(
            "nightly",
            bill,
            "everybody",
            cron="0 2 * * *",
            calendars=[Calendar(hour="14", day_of_week="SUN")],
            excluding=[Calendar("*", "*", "*", month="8")],
            time_zone="Europe/Berlin",
            note="as agreed",
            memo={"owner": "finance"},
            trigger=True,
        )
        assert ended(engine, "nightly", 1, 1) == ["billed everybody"]
        described = schedules.describe("nightly")
        assert (described.workflow_type, described.note, described.memo) == ("bill", "as agreed", {"owner": "finance"})
        assert described.recent[0].workflow_id.startswith("nightly-20")
        times = schedules.times("nightly", datetime(2026, 7, 25, tzinfo=UTC), datetime(2026, 9, 2, tzinfo=UTC))
        assert datetime(2026, 7, 26, 12, tzinfo=UTC) in times
        assert all(at.month != 8 for at in times)

        schedules.pause("nightly", "holidays")
        assert [(one.id, one.paused, one.note) for one in schedules.list("TemporalSchedulePaused = true")] == [
            ("nightly", True, "holidays")
        ]
        schedules.backfill("nightly", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC))
        assert ended(engine, "nightly", 3, 4) == ["billed everybody"] * 3
        schedules.unpause("nightly")
        schedules.trigger("nightly", overlap=Overlap.ALLOW_ALL)
        wait_for(1)
        schedules.delete("nightly")
        assert schedules.list() == []
        with pytest.raises(ScheduleNotFoundError, match="there is no schedule 'nightly'"):
            schedules.describe("nightly")


def test_what_was_missed_is_made_up_for_when_the_engine_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bills.db"
    with Engine(url) as engine:
        engine.schedules.create("often", bill, "a", every="1s", actions=3, overlap="BUFFER_ALL")
        wait_for(1)
    with Engine(url) as engine:
        wait_for(2)
        left = engine.schedules.describe("often")
        assert (left.remaining_actions, left.next_times) == (0, [])
        assert engine.get(left.recent[0].workflow_id).describe().status in (
            WorkflowStatus.COMPLETED,
            WorkflowStatus.RUNNING,
        )


def test_misuse_is_told_in_a_sentence() -> None:
    with Engine("memory://") as engine:
        schedules = engine.schedules
        schedules.create("one", bill, "a", every="1h", paused=True)
        with pytest.raises(ScheduleAlreadyExistsError, match="there is a schedule 'one' already"):
            schedules.create("one", bill, "a", every="1h")
        with pytest.raises(ValueError, match="CronString does not have 5-7 fields"):
            schedules.create("two", bill, "a", cron="daily")
        with pytest.raises(ValueError, match="unknown time zone Mars/Base"):
            schedules.create("two", bill, "a", cron="@daily", time_zone="Mars/Base")
        with pytest.raises(ValueError, match="overlap must be one of 'skip', "):
            schedules.create("two", bill, "a", every="1h", overlap="maybe")
        with pytest.raises(ValueError, match="phase means nothing without every"):
            schedules.create("two", bill, "a", phase="1h")
        with pytest.raises(ValueError, match="start must say its time zone"):
            schedules.backfill("one", datetime(2026, 1, 1), datetime(2026, 1, 2))
        with pytest.raises(ValueError, match="every must be at most 100 years"):
            schedules.create("two", bill, "a", every=timedelta(days=365_000))
        with pytest.raises(ValueError, match="begins must be at most in the year 2261"):
            schedules.create("two", bill, "a", every="1h", begins=datetime(2300, 1, 1, tzinfo=UTC))
        west = timezone(timedelta(hours=-5))
        with pytest.raises(ValueError, match="ends is at the very end of the calendar"):
            schedules.create("two", bill, "a", every="1h", ends=datetime.max.replace(tzinfo=west))
        with pytest.raises(ValueError, match="actions must be from 0 to"):
            schedules.create("two", bill, "a", every="1h", actions=-1)
        with pytest.raises(TypeError):
            schedules.create("two", bill, every="1h")  # pyright: ignore[reportArgumentType]
        with pytest.raises(ScheduleNotFoundError):
            schedules.pause("nobody")


def test_the_command_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bills.db"
    with Engine(url) as engine:
        engine.schedules.create(
            "nightly",
            bill,
            "everybody",
            every=timedelta(days=1),
            note="as agreed",
            begins=datetime(2090, 1, 1, tzinfo=UTC),
        )

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["schedule", *arguments, "--store", url])
        assert result.exit_code == 0, result.output
        return result.output

    assert "active (as agreed)" in run("list") and "2090-01-01 00:00:00Z" in run("list")
    assert '"workflow_type": "bill"' in run("describe", "nightly", "--json")
    assert "is paused" in run("pause", "nightly", "--note", "holidays")
    assert "paused (holidays)" in run("describe", "nightly")
    assert "goes on" in run("unpause", "nightly")
    assert "acts" in run("trigger", "nightly")
    assert "makes up" in run("backfill", "nightly", "--from", "2090-01-01", "--to", "2090-01-03", "--overlap", "skip")
    assert '"id": "nightly"' in run("list", "--json", "--query", "TemporalSchedulePaused = false")
    assert "is deleted" in run("delete", "nightly")
    gone = CliRunner().invoke(cli, ["schedule", "describe", "nightly", "--store", url])
    assert (gone.exit_code, "there is no schedule 'nightly'" in gone.output) == (1, True)
    wrong = CliRunner().invoke(cli, ["schedule", "backfill", "x", "--from", "soon", "--to", "2090", "--store", url])
    assert (wrong.exit_code, "'soon' is no time" in wrong.output) == (2, True)


def test_one_that_acts_as_it_is_made_has_acted_when_somebody_looks() -> None:
    with Engine("memory://") as engine:
        for paused in (True, False):
            schedule_id = f"at-once-{paused}"
            engine.schedules.create(schedule_id, bill, "ada", cron="0 3 * * *", paused=paused, trigger=True)
            assert engine.schedules.describe(schedule_id).action_count == 1
