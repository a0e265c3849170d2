"""What an operator does to executions: cancel, terminate, signal, pause, unpause, reset; and to their activities.

A server does it, or the engine that has the file; if none has, it is opened for the moment: `looking.opened`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from perdure.cli.looking import is_idle, opened
from perdure.cli.options import group, namespace_option, run_option, store_option
from perdure.cli.output import say
from perdure.cli.workflow import workflow
from perdure.sdk.options import Retry

F = TypeVar("F", bound=Callable[..., Any])

_reason_option = click.option("--reason", default="", help="For people; it is kept.")
_activity_id_option = click.option("--activity-id", "activity_id", required=True, help="Of the call: see `describe`.")


def _where(command: F) -> F:
    """The options that all of them have."""
    return store_option(namespace_option(run_option(command)))


@workflow.command()
@click.argument("workflow_id")
@_where
@_reason_option
def cancel(workflow_id: str, store_url: str, namespace: str, run_id: str | None, reason: str) -> None:
    """Ask a workflow to stop; its code may clean up first."""
    with opened(store_url, namespace) as engine:
        engine.get(workflow_id, run_id).cancel(reason)
    _say(f"{workflow_id} was asked to stop", store_url)


@workflow.command()
@click.argument("workflow_id")
@_where
@_reason_option
def terminate(workflow_id: str, store_url: str, namespace: str, run_id: str | None, reason: str) -> None:
    """End a workflow now; its code is not asked."""
    with opened(store_url, namespace) as engine:
        engine.get(workflow_id, run_id).terminate(reason)
    _say(f"{workflow_id} was terminated", store_url)


@workflow.command()
@click.argument("workflow_id")
@click.argument("name")
@click.argument("values", nargs=-1)
@_where
def signal(
    workflow_id: str, name: str, values: tuple[str, ...], store_url: str, namespace: str, run_id: str | None
) -> None:
    """Send the signal NAME, with VALUES, each as JSON: '{"sku": "lamp"}', 3, '"text"'."""
    arguments = [_parsed(value) for value in values]
    with opened(store_url, namespace) as engine:
        engine.get(workflow_id, run_id).signal(name, *arguments)
    _say(f"{workflow_id} has the signal {name}", store_url)


@workflow.command()
@click.argument("workflow_id")
@_where
@_reason_option
def pause(workflow_id: str, store_url: str, namespace: str, run_id: str | None, reason: str) -> None:
    """Let nothing of a workflow run until it is unpaused; what happens is collected."""
    with opened(store_url, namespace) as engine:
        engine.get(workflow_id, run_id).pause(reason)
    _say(f"{workflow_id} is paused", store_url)


@workflow.command()
@click.argument("workflow_id")
@_where
@_reason_option
def unpause(workflow_id: str, store_url: str, namespace: str, run_id: str | None, reason: str) -> None:
    """Let a paused workflow go on."""
    with opened(store_url, namespace) as engine:
        engine.get(workflow_id, run_id).unpause(reason)
    _say(f"{workflow_id} goes on", store_url)


@workflow.command()
@click.argument("workflow_id")
@_where
@_reason_option
@click.option("--event-id", type=click.IntRange(min=2), help="A WorkflowTaskCompleted: that task is done anew.")
@click.option("--step", help='An activity, a child workflow, or "timer": the task that called it is done anew.')
@click.option("--nth", default=-1, show_default=True, help="Which call of --step: 1 the first, -1 the last.")
@click.option(
    "--reapply",
    type=click.Choice(["all", "signals", "updates", "none"]),
    default="all",
    show_default=True,
    help="What had been told to the run after that point, and is told again.",
)
def reset(
    workflow_id: str, store_url: str, namespace: str, run_id: str | None, reason: str,
    event_id: int | None, step: str | None, nth: int, reapply: Any,
) -> None:  # fmt: skip
    """Begin a new run with the history up to a point; the code goes on from there, differently if it was mended."""
    with opened(store_url, namespace) as engine:
        run = engine.get(workflow_id, run_id)
        new = run.reset(event_id=event_id, step=step, nth=nth, reason=reason, reapply=reapply)
    _say(f"{workflow_id} goes on as run {new.run_id}", store_url)


@group(short_help="Activities: pause, unpause, reset, update.")
def activity() -> None:
    """Activities that have not ended yet: `perdure workflow describe` shows them."""


@activity.command("pause")
@click.argument("workflow_id")
@_activity_id_option
@_where
@_reason_option
def pause_activity(
    workflow_id: str, activity_id: str, store_url: str, namespace: str, run_id: str | None, reason: str
) -> None:
    """Let no further attempt of an activity begin."""
    with opened(store_url, namespace) as engine:
        engine.activities.pause(workflow_id, activity_id, reason, run_id=run_id)
    _say(f"activity {activity_id} of {workflow_id} is paused", store_url)


@activity.command("unpause")
@click.argument("workflow_id")
@_activity_id_option
@_where
@click.option("--reset-attempts", is_flag=True, help="Count them from 1 again.")
def unpause_activity(
    workflow_id: str, activity_id: str, store_url: str, namespace: str, run_id: str | None, reset_attempts: bool
) -> None:
    """Let a paused activity go on; its next attempt begins now."""
    with opened(store_url, namespace) as engine:
        engine.activities.unpause(workflow_id, activity_id, reset_attempts=reset_attempts, run_id=run_id)
    _say(f"activity {activity_id} of {workflow_id} goes on", store_url)


@activity.command("reset")
@click.argument("workflow_id")
@_activity_id_option
@_where
@click.option("--keep-paused", is_flag=True, help="One that is paused stays so.")
def reset_activity(
    workflow_id: str, activity_id: str, store_url: str, namespace: str, run_id: str | None, keep_paused: bool
) -> None:
    """Count its attempts from 1 again, and begin the next one now."""
    with opened(store_url, namespace) as engine:
        engine.activities.reset(workflow_id, activity_id, keep_paused=keep_paused, run_id=run_id)
    _say(f"activity {activity_id} of {workflow_id} begins anew", store_url)


@activity.command("update")
@click.argument("workflow_id")
@_activity_id_option
@_where
@click.option("--start-to-close-timeout", "--start-to-close", help='How long one attempt may take, such as "30s".')
@click.option("--schedule-to-close-timeout", "--schedule-to-close", help="How long all attempts together may take.")
@click.option("--heartbeat-timeout", "--heartbeat", help="How long an attempt may be silent.")
@click.option("--task-queue", help="Whose workers run it.")
@click.option("--maximum-attempts", type=click.IntRange(min=0), help="0: without end. Sets the whole retry policy.")
@click.option("--initial-interval", help="The first back-off. Sets the whole retry policy.")
@click.option("--restore", is_flag=True, help="Give it the options of its call again.")
def update_activity(
    workflow_id: str, activity_id: str, store_url: str, namespace: str, run_id: str | None,
    start_to_close_timeout: str | None, schedule_to_close_timeout: str | None, heartbeat_timeout: str | None,
    task_queue: str | None,
    maximum_attempts: int | None, initial_interval: str | None, restore: bool,
) -> None:  # fmt: skip
    """Give an activity other options, for its attempts from now on."""
    with opened(store_url, namespace) as engine:
        retry = None
        if maximum_attempts is not None or initial_interval is not None:
            retry = Retry(initial_interval=initial_interval or 1.0, maximum_attempts=maximum_attempts or 0)
        engine.activities.update_options(
            workflow_id,
            activity_id,
            start_to_close_timeout=start_to_close_timeout,
            schedule_to_close_timeout=schedule_to_close_timeout,
            heartbeat_timeout=heartbeat_timeout,
            task_queue=task_queue,
            retry=retry,
            restore_options=restore,
            run_id=run_id,
        )
    _say(f"activity {activity_id} of {workflow_id} has other options", store_url)


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not JSON; a text is written with quotes in it, '\"so\"'") from error


def _say(text: str, store_url: str) -> None:
    say(text)
    if is_idle(store_url):
        say("The next engine that opens the store carries it on.", style="dim")
