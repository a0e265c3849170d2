"""Scenarios that Temporal's own server and ours must answer alike, through the official Python SDK.

A scenario is a coroutine in `scenarios/`, a file per theme: it gets a `Stage` (a client, a task queue and ids of
its own), starts its own workers, and returns what it was answered. `play` runs it and collects the histories of
all workflows it named; `plain` takes out what differs from run to run. What the real server did is in
`recordings/` (`python -m tests.differential.record [NAME…]`); `test_recorded.py` holds ours against it, and
`make differential` runs both servers side by side.
"""
