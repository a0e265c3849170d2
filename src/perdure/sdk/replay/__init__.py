"""Replay: a history goes in, the commands that the workflow code asks for come out. No I/O at all.

A *workflow task* is what the server hands a worker whenever something happened: here is (the rest
of) the history, tell me what to do next. The machine applies it in sections, each of which ends at
one WorkflowTaskStarted event:

    WorkflowTaskCompleted     of the task before
    command events            what that task's commands became: ActivityTaskScheduled, TimerStarted, ...
    other events              what happened since: ActivityTaskCompleted, TimerFired, ...
    WorkflowTaskScheduled
    WorkflowTaskStarted       now the code runs, until every branch of it waits; it leaves new commands

The command events are matched, in order, with the commands that the code left in the section
before. That is the whole determinism check: while a cold machine walks through an old history,
the code must leave, at each WorkflowTaskStarted, the commands that history shows behind it. A task
that failed or timed out left no commands, so the code does not run at its WorkflowTaskStarted.

| file | what |
|---|---|
| `machine.py` | one cached run: walks the sections, runs the code, returns a `TaskOutcome` |
| `entry.py` | what every command has in common: its event, its site in the code, its outcome |
| `activity.py`, `timer.py`, `marker.py`, `completion.py` | one small machine per kind, its transition table first |
| `local_activity.py`, `local_work.py` | what the worker runs within a workflow task, and what it is told and tells |
| `inbox.py`, `update.py`, `query.py` | what comes from outside: signals, updates, questions |
| `child.py` | children, and messages to other workflows |
| `events.py`, `outcome.py` | what each event does to a machine; what a task comes to |
| `conclusion.py` | what the end of the code comes to |
| `flags.py` | changes of this SDK that old histories are not told |
| `fiber.py` | what carries the code; `GreenletFiber` for `def` workflows (`async def`: `sdk/workflow/loop.py`) |
| `mismatch.py` | the words of a NonDeterminismError |
| `running.py` | which machine runs on which thread, and whether the guard watches it |
| `info.py` | what a run knows of itself |
"""
