"""Events: workflows that tell each other what happened, through a hub for each name.

| file | what |
|---|---|
| `hub.py` | the workflow that knows the subscribers of one event, and serves them |
| `../sdk/events.py` | the side of those who emit and subscribe, in workflows |
| `../sdk/client/events.py` | `engine.events` |

The hub is a workflow like any other, written with the SDK's public names: a worker that shall carry hubs has `EventHub`
among its workflows. An `Engine` has, and so has a `Worker` by itself.
"""

from typing import cast

from perdure.events.hub import EventHub, HubState
from perdure.sdk.declare.definitions import AnyActivity, AnyWorkflow, Registry
from perdure.sdk.workflow.events import HUB_TYPE

__all__ = ["EventHub", "HubState", "with_hub"]


class _WithHub(Registry):
    """What an engine runs, with the hub among the workflows."""

    def __init__(self, real: Registry) -> None:
        super().__init__(real.workflows, real.activities)
        self._real = real

    def workflow(self, name: str) -> AnyWorkflow:
        """Raises UnknownTypeError."""
        return cast("AnyWorkflow", EventHub) if name == HUB_TYPE else self._real.workflow(name)

    def activity(self, name: str) -> AnyActivity:
        """Raises UnknownTypeError."""
        return self._real.activity(name)


def with_hub(registry: Registry) -> Registry:
    """The registry with the hub in it."""
    return _WithHub(registry)
