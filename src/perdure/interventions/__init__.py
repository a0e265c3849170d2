"""Interventions: what a workflow cannot settle by itself waits, open and durable, for a person's decision.

A compensation that failed beyond its retries is one. The workflow writes an entry into its memo, raises
the alert, and waits for a signal. The signal brings the decision with who made it and why, so all of
that is in the history. `engine.interventions` lists the entries and sends the decisions.

| file | what |
|---|---|
| `entry.py` | the entry and the decision, as they are stored |
| `desk.py` | `engine.interventions`: list, retry, complete, skip, fail |
| `alert.py` | the activity that tells somebody |
"""

from perdure.interventions.alert import ALERT, AlertHook, alert, alerting
from perdure.interventions.desk import AsyncInterventions, Interventions
from perdure.interventions.entry import MEMO_KEY, Action, Decision, Intervention, signal_of
from perdure.sdk.errors import InterventionNotFoundError

__all__ = [
    "ALERT",
    "MEMO_KEY",
    "Action",
    "AlertHook",
    "AsyncInterventions",
    "Decision",
    "Intervention",
    "InterventionNotFoundError",
    "Interventions",
    "alert",
    "alerting",
    "signal_of",
]
