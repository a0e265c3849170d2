"""Work that is known by its name alone: code in another program, or in another language.

A definition says how an activity or a workflow is called and what comes back; of one that runs elsewhere there is no
function to take that from. So it is said by hand, once:

    charge = activity.named("charge", start_to_close_timeout="30s", returns=Receipt)
    ship = workflow.named("ship", task_queue="shipping", returns=Parcel)

and used wherever a decorated function may be called. A plain text does where nothing needs to be said: the defaults of
a bare `@activity`, and whatever the result's JSON says. Arguments go by position and are not checked against anything.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any, Generic, NoReturn, TypeVar, cast

from perdure.sdk.declare.callables import Shape
from perdure.sdk.declare.definitions import (
    ActivityDefinition,
    AnyActivity,
    AnyWorkflow,
    WorkflowDefinition,
    needs_object,
)
from perdure.sdk.errors import DefinitionError
from perdure.sdk.options import ActivityOptions, activity_options
from perdure.sdk.texts import check_text

R_co = TypeVar("R_co", covariant=True)

_ANYTHING = inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)])


def _put_name(definition: Any, name: Any, returns: Any, word: str) -> None:
    """What every definition has, of one without a function. Raises DefinitionError, TypeError, ValueError."""
    check_text(name, "name")
    if not name:
        raise DefinitionError(f"{word}.named(...) takes the name by which workers know it, and it is empty")

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise DefinitionError(f"{word} {name!r} is known by its name alone: its code is elsewhere, and cannot run here")

    definition.name = definition.__name__ = definition.__qualname__ = name
    definition.__module__, definition.__doc__ = __name__, f"{word} {name}"
    definition.fn = definition.__wrapped__ = missing
    definition.is_async = False
    definition._signature = _ANYTHING
    definition._shape = Shape([], returns, ["*args"], 0, float("inf"))


def _positional(name: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise TypeError(
            f"{name} is known by its name alone, so what it is called with has positions, and no names: "
            f"{', '.join(kwargs)}"
        )


class NamedActivity(ActivityDefinition[..., R_co]):
    """An activity without code here; `.options(...)` gives a changed copy as of any other."""

    has_code = False

    def __init__(self, name: str, *, returns: Any = Any, options: ActivityOptions | None = None) -> None:
        _put_name(self, name, returns, "activity")
        self._is_classmethod = self._is_static = self._is_method_like = False
        self.is_declared = True
        self.run_in = "elsewhere"
        self.activity_options = options or activity_options()

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments as they are. Raises TypeError for those that are given by name."""
        _positional(self.name, kwargs)
        return args

    def __set_name__(self, owner: type[Any], name: str) -> None:
        """Standing in a class makes it no method."""

    def __repr__(self) -> str:
        return f"<NamedActivity {self.name}>"


class NamedWorkflow(WorkflowDefinition[..., R_co], Generic[R_co]):
    """A workflow without code here."""

    has_code = False

    def __init__(self, name: str, *, returns: Any = Any, task_queue: str | None = None) -> None:
        check_text(task_queue, "task_queue")
        _put_name(self, name, returns, "workflow")
        self.task_queue = task_queue

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments as they are. Raises TypeError for those that are given by name."""
        _positional(self.name, kwargs)
        return args

    def __repr__(self) -> str:
        return f"<NamedWorkflow {self.name}>"


@lru_cache(maxsize=1024)
def activity_of_name(name: str) -> NamedActivity[Any]:
    """The activity that a text names, with the defaults of a bare `@activity`."""
    return NamedActivity(name)


@lru_cache(maxsize=1024)
def workflow_of_name(name: str) -> NamedWorkflow[Any]:
    """The workflow that a text names."""
    return NamedWorkflow(name)


def activity_given(what: str, activity: Any) -> AnyActivity:
    """The activity that workflow code names: a definition, or a text. Raises DefinitionError, which says what to write.

    Args:
        what: the call, as in "call()".
    """
    if isinstance(activity, ActivityDefinition):
        return cast(AnyActivity, activity)
    if isinstance(activity, str):
        return activity_of_name(activity)
    beneath = getattr(activity, "__func__", None)
    if isinstance(beneath, ActivityDefinition):  # what @classmethod makes of one, from Python 3.13 on
        raise DefinitionError(needs_object(cast(AnyActivity, beneath)))
    name = getattr(activity, "__qualname__", repr(activity))
    raise DefinitionError(f"{what} takes a function decorated with @activity, and {name} is none; decorate it")


def workflow_given(workflow: Any) -> AnyWorkflow:
    """The workflow that is to be started: a definition, or a text. Raises DefinitionError, which says what to write."""
    if isinstance(workflow, WorkflowDefinition):
        return cast(AnyWorkflow, workflow)
    if isinstance(workflow, str):
        return workflow_of_name(workflow)
    name = getattr(workflow, "__qualname__", repr(workflow))
    raise DefinitionError(f"{name} is not a workflow: decorate the function with @workflow, or give its name as a text")
