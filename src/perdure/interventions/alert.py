"""The alert: an activity that tells somebody of an entry, at least once.

It runs in the worker of the engine and is retried like any other, so it survives a crash. What it does
is the engine's `alert=...`: a command, a web hook or a function. Without one it writes a warning to the
log.
"""

from __future__ import annotations

import logging
import shlex
import subprocess
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec

from perdure.interventions.entry import Intervention
from perdure.sdk.activity import activity
from perdure.sdk.declare.definitions import AnyActivity, Registry, SyncActivity
from perdure.sdk.errors import ApplicationError, DefinitionError
from perdure.sdk.options import Retry

AlertHook = str | Callable[[Intervention], object]
"""A command line, a URL that is POSTed to, or a function of the entry."""

ALERT = "perdure.alert"
HOOK_TIMEOUT_S = 30.0
"""How long one command or request may take."""

_RETRY = Retry(initial_interval="1s", maximum_interval="1m", maximum_attempts=10)

_log = logging.getLogger("perdure.interventions")


@activity(name=ALERT, start_to_close_timeout="1m", retry=_RETRY)
def alert(entry: Intervention) -> None:
    """What is done without `alert=...`: a line in the log."""
    _log.warning(
        "%s of workflow %r (%s) failed for good and waits for a decision, intervention %s: %s",
        entry.step,
        entry.workflow_id,
        entry.workflow_type,
        entry.id,
        entry.error,
    )


class AlertingRegistry(Registry):
    """What an engine runs, with its own alert among the activities."""

    def __init__(self, real: Registry, definition: AnyActivity) -> None:
        super().__init__(real.workflows, real.activities)
        self._alert = definition

    def activity(self, name: str) -> AnyActivity:
        """Raises UnknownTypeError."""
        return self._alert if name == ALERT else super().activity(name)


def alerting(registry: Registry, hook: AlertHook | None) -> Registry:
    """The registry with the alert in it. Raises DefinitionError for a hook that is none."""
    if hook is None:
        return AlertingRegistry(registry, alert)
    tell = _teller(hook)

    def told(entry: Intervention) -> None:
        tell(entry)

    # Not decorated: it is this engine's, and other engines of the process have theirs.
    return AlertingRegistry(registry, SyncActivity(told, name=ALERT, options=alert.activity_options))


def _teller(hook: Any) -> Callable[[Intervention], object]:
    if callable(hook):
        return hook
    if isinstance(hook, str) and hook.startswith(("http://", "https://")):
        return lambda entry: _post(hook, entry)
    if isinstance(hook, str) and shlex.split(hook):
        command = shlex.split(hook)
        return lambda entry: _run(command, entry)
    raise DefinitionError(f"alert must be a command line, an http(s) URL or a function, not {hook!r}")


def _post(url: str, entry: Intervention) -> None:
    """The entry as JSON. An answer of 400 and above raises, so it is tried again."""
    request = urllib.request.Request(
        url, msgspec.json.encode(entry), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=HOOK_TIMEOUT_S):
        pass


def _run(command: list[str], entry: Intervention) -> None:
    """The entry as JSON on its standard input. Another exit code than 0 raises."""
    ended = subprocess.run(
        command, input=msgspec.json.encode(entry), capture_output=True, timeout=HOOK_TIMEOUT_S, check=False
    )
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip()[-500:]
        raise ApplicationError(f"{command[0]} ended with exit code {ended.returncode}: {said}", type="AlertFailed")
