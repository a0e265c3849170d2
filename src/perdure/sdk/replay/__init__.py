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
| `run.py` | the ground: one run, as its code and the things that it asked for see it |
| `entry.py`, `fiber.py`, `parts.py` | what a run holds, in outline: commands, what carries code, an inbox |
| `events.py`, `mismatch.py` | where each kind registers the events that it reads, and its words |
| `activity.py`, `timer.py`, `marker.py`, `completion.py` | one small machine per kind, its transition table first |
| `local_activity.py`, `local_work.py` | what the worker runs within a workflow task, and what it is told and tells |
| `child.py` | children, and messages to other workflows |
| `memo.py`, `search.py`, `patch.py` | what the code says of the run, and of its own version |
| `inbox.py`, `update.py`, `query.py` | what comes from outside: signals, updates, questions |
| `greenlets.py` | what carries a `def` workflow (`async def`: `sdk/workflow/loop.py`) |
| `conclusion.py`, `outcome.py` | what the end of the code comes to; what a task comes to |
| `flags.py` | changes of this SDK that old histories are not told |
| `running.py` | which run is on which thread, and whether the guard watches it |
| `machine.py` | the roof: walks the sections, runs the code, matches, returns a `TaskOutcome` |

A new kind of command is one file: an `Entry`, its `@reads` and `@names`, and its place in `machine.KINDS`.
"""
