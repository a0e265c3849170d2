"""What `@workflow` and `@activity` make of a function, and the registry that finds it by name.

A definition is read by many: the worker runs it, the replay machine decodes by its annotations,
`call` is typed by its ParamSpec. So it holds what was found out once, at decoration, and nothing
that changes.

Names are what history refers to: two functions of one name would run each other's work, so the
worker refuses to run both. A function defined again (a reloaded module, a
notebook's cell, `__main__` imported under its own name) replaces the first. Functions defined inside
other functions (tests) replace each other, the latest wins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from types import MethodType, ModuleType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    overload,
)

from perdure.sdk.choices import member_of
from perdure.sdk.declare.callables import (
    Shape,
    checked_callable,
    code_of,
    function_of,
    is_async,
    is_method_like,
    own_name,
    shape_by,
)
from perdure.sdk.errors import DefinitionError, UnknownTypeError
from perdure.sdk.option_names import lists_options, meant_by, unknown_option
from perdure.sdk.options import ActivityOptions, Duration, Retry, activity_options
from perdure.sdk.policies import Cancellation, RunIn
from perdure.sdk.texts import check_text

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")


direct_call_guard: list[Callable[[str], None]] = []
"""Called with the activity's name when one is called directly; the workflow side adds a check that
raises DeterminismViolation inside workflow code. Outside of it a direct call is the plain function."""


class Definition(Generic[P, R_co]):
    """A function, its name in history, and the types its values are decoded to."""

    decorator = "@definition"
    """As users write it."""
    dynamic: bool = False
    """Whether it stands for every type that has no definition of its own; it is given the type's name first."""
    has_code: bool = True
    """Whether there is a function to run; False of what is known by its name alone (`sdk/declare/named.py`)."""

    def __init__(self, fn: Callable[..., Any], name: str | None) -> None:
        fn = fn.__func__ if isinstance(fn, staticmethod) else fn
        check_text(name, "name")
        self.name = checked_callable(fn, self.decorator, name)
        function = function_of(fn)
        self.fn = fn
        self.is_async = is_async(fn)
        self.__name__ = own_name(fn) or self.name
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = getattr(function, "__module__", None) or "builtins"
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn
        self._signature: inspect.Signature | None = None
        self._shape: Shape | None = None

    @property
    def location(self) -> str:
        """`file:line` of the function."""
        code = code_of(self.fn)
        return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else self.__module__

    @property
    def is_local(self) -> bool:
        """Whether the function was defined inside another one."""
        return "<locals>" in self.__qualname__

    @property
    def signature(self) -> inspect.Signature:
        """Of a call: the function's own, less what the caller does not give."""
        if self._signature is None:
            whole = inspect.signature(self.fn)
            parameters = list(whole.parameters.values())[self.given_by_worker :]
            self._signature = whole.replace(parameters=parameters) if self.given_by_worker else whole
        return self._signature

    @property
    def given_by_worker(self) -> int:
        """How many of the function's first parameters the worker fills in."""
        return 0

    @property
    def shape(self) -> Shape:
        """What a call takes by position, and what it gives."""
        if self._shape is None:
            self._shape = shape_by(self.fn, self.signature)
        return self._shape

    @property
    def argument_types(self) -> list[Any]:
        """The annotation of each positional parameter; Any where there is none."""
        return self.shape.types

    @property
    def return_type(self) -> Any:
        """The return annotation, Any where there is none, NoneType for None."""
        return self.shape.returns

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Positional arguments of a call: what is recorded. Raises TypeError as the call itself would."""
        if self.dynamic:
            if kwargs:
                raise TypeError(f"{self.name}() is dynamic: what it is called with has positions, and no names")
            self._check_count((self.name, *args))
            return args
        if not kwargs:
            self._check_count(args)
            return args
        bound = self._bound(args, kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(f"{self.name}() has keyword-only parameters; a recorded call has positional ones only")
        return bound.args

    def decoded(self, converter: Any, payloads: Any, name: str, word: str) -> list[Any]:
        """Recorded arguments, by the annotations; what `fn` is to be called with.

        Args:
            name: the type as history has it: that of a dynamic definition is not its own.
            word: "workflow" or "activity", for the error.

        Raises PayloadError.
        """
        what = f"the arguments of {word} {name}"
        if self.dynamic:
            shape = self.shape.without(1)
            return [name, *converter.from_payloads(payloads, shape.kinds(len(payloads)), what, shape.names)]
        shape = self._shape or self.shape
        kinds = shape.types if shape.rest is Any else shape.kinds(len(payloads))
        return converter.from_payloads(payloads, kinds, what, shape.names)

    def _check_count(self, args: tuple[Any, ...]) -> None:
        shape = self._shape or self.shape
        if not shape.least <= len(args) <= shape.most:
            self._bound(args, {})
            raise TypeError(f"{self.name}() does not take {len(args)} arguments")

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """Raises TypeError, which says whose arguments they are, and what it takes."""
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            names = list(self.signature.parameters)
            unknown = [name for name in kwargs if name not in names]
            if unknown and not any(p.kind is p.VAR_KEYWORD for p in self.signature.parameters.values()):
                raise self._unknown_argument(unknown[0], names) from None
            raise TypeError(f"{self.name}(): {error}; it takes: {', '.join(names) or 'nothing'}") from None

    def _unknown_argument(self, given: str, names: list[str]) -> TypeError:
        return unknown_option(f"{self.name}()", given, names, "parameter")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.location}>"


@lists_options
class ActivityDefinition(Definition[P, R_co]):
    """An activity: `R` is what `call` gives back. Immutable; `.options(...)` gives a changed copy."""

    decorator = "@activity"
    transactional: bool = False
    """Whether it runs in the store's write transaction (`sdk/declare/transaction.py`)."""
    owner: type[Any] | None = None
    """The class whose method it is while it has no object of it: to be called, and not to be run."""
    instance: Any = None
    """The object that it is a method of, where it has one."""

    def __init__(
        self, fn: Callable[..., Any], *, name: str | None, options: ActivityOptions, run_in: RunIn | str = RunIn.AUTO
    ) -> None:
        self._is_classmethod = isinstance(fn, classmethod)
        self._is_static = isinstance(fn, staticmethod)
        super().__init__(cast(Any, fn).__func__ if self._is_classmethod else fn, name)
        self._is_method_like = not self._is_static and is_method_like(self.fn)
        self.is_declared = not self._is_method_like and not self._is_classmethod
        """Whether it can be run as it stands: a method needs an object, or at least its class."""
        run_in = member_of(RunIn, run_in, f"run_in of {self.name}", error=DefinitionError)
        if self.is_async and run_in in ("thread", "process"):
            raise DefinitionError(
                f"{self.name} is `async def`: it runs on the event loop; make it a `def` to run_in={run_in.value!r}"
            )
        if not self.is_async and run_in == "loop":
            raise DefinitionError(
                f"{self.name} is a plain `def`: on the loop it would block everything; make it `async def`"
            )
        if run_in == "process" and (self._is_method_like or function_of(self.fn) is not self.fn):
            raise DefinitionError(f"{self.name} has an object with it: another process cannot import that")
        if run_in == "process" and self.is_local:
            raise DefinitionError(f"{self.name} is defined inside a function: another process cannot import it")
        self.activity_options = options
        self.run_in: str = run_in.value if run_in != "auto" else ("loop" if self.is_async else "thread")

    def options(
        self,
        *,
        start_to_close_timeout: Duration | None = None,
        schedule_to_close_timeout: Duration | None = None,
        schedule_to_start_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        retry: Retry | None = None,
        task_queue: str | None = None,
        cancellation: Cancellation | str | None = None,
        local_retry_threshold: Duration | None = None,
        summary: str | None = None,
    ) -> Self:
        """The same activity with other options for one call; what is left out stays as declared."""
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        changed.activity_options = activity_options(
            self.activity_options,
            start_to_close_timeout=start_to_close_timeout,
            schedule_to_close_timeout=schedule_to_close_timeout,
            schedule_to_start_timeout=schedule_to_start_timeout,
            heartbeat_timeout=heartbeat_timeout,
            retry=retry,
            task_queue=task_queue,
            cancellation=cancellation,
            local_retry_threshold=local_retry_threshold,
            summary=summary,
        )
        return changed

    @property
    def given_by_worker(self) -> int:
        """The object of a method that has none yet."""
        return int(self.owner is not None)

    def renamed(self, name: str) -> Self:
        """The same under another name in history."""
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        changed.name = name
        return changed

    def __set_name__(self, owner: type[Any], name: str) -> None:
        """The activity stands in the body of a class."""
        if self._is_static or self.__qualname__ != f"{owner.__qualname__}.{self.__name__}":
            return
        self._signature = self._shape = None
        if self._is_classmethod:
            self.fn, self.instance, self.is_declared = MethodType(self.fn, owner), owner, True
            default_registry.add(self)
            return
        self.owner, self.is_declared = owner, False
        default_registry.activities.set_aside(cast(AnyActivity, self))

    def bound_to(self, instance: Any) -> Self:
        """The method of an object."""
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.fn, bound.instance, bound.owner = MethodType(self.fn, instance), instance, None
        bound.is_declared = True
        bound._signature = bound._shape = None
        return bound

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """Of an object, its method; of a class, the one that has no object, to be called in workflows."""
        return self if instance is None or self.owner is None else self.bound_to(instance)

    def _unknown_argument(self, given: str, names: list[str]) -> TypeError:
        options = inspect.signature(self.options).parameters
        option = given if given in options else meant_by(given, options)
        if option is None or meant_by(given, names) is not None:
            return super()._unknown_argument(given, names)
        return TypeError(
            f"{self.name}() has no parameter {given!r}; to call it with other options than it is declared with, write "
            f"{self.__name__}.options({option}=...) in its place"
        )

    def __reduce__(self) -> str:
        return self.__qualname__


class SyncActivity(ActivityDefinition[P, R_co]):
    """A `def` activity. Called directly, outside a workflow, it is the plain function."""

    if TYPE_CHECKING:  # a method's call has no `self`, with an object or without

        @overload
        def __get__(
            self: SyncActivity[Concatenate[S, Q], T], instance: None, owner: type[Any] | None = None
        ) -> SyncActivity[Q, T]: ...
        @overload
        def __get__(
            self: SyncActivity[Concatenate[S, Q], T], instance: S, owner: type[Any] | None = None
        ) -> SyncActivity[Q, T]: ...
        def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any: ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        for check in direct_call_guard:
            check(self.name)
        return cast(R_co, self.fn(*args, **kwargs))


class AsyncActivity(ActivityDefinition[P, R_co]):
    """An `async def` activity. Called directly, outside a workflow, it is the plain coroutine function."""

    if TYPE_CHECKING:  # as of a SyncActivity

        @overload
        def __get__(
            self: AsyncActivity[Concatenate[S, Q], T], instance: None, owner: type[Any] | None = None
        ) -> AsyncActivity[Q, T]: ...
        @overload
        def __get__(
            self: AsyncActivity[Concatenate[S, Q], T], instance: S, owner: type[Any] | None = None
        ) -> AsyncActivity[Q, T]: ...
        def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any: ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        for check in direct_call_guard:
            check(self.name)
        return cast("Coroutine[Any, Any, R_co]", self.fn(*args, **kwargs))


class WorkflowDefinition(Definition[P, R_co]):
    """A workflow: `R` is its result. `sdk/workflow` declares them: what can be called, and how it is run."""

    decorator = "@workflow"
    fail_on: tuple[type[BaseException], ...] = ()
    """Exceptions that fail the run, beside the FailureErrors; any other one is a bug and fails the task alone."""
    guarded: bool = True
    """Whether the determinism guard watches the code."""
    fiber: Callable[[Any], Any] | None = None
    """Makes what carries the code for one WorkflowMachine; None: a greenlet."""
    events: tuple[Any, ...] = ()
    """Which events start one, as `@on_event` says (`sdk/workflow/events.py`)."""
    handlers: Any = None
    """Of a class (`sdk/declare/handlers.py`): what it declares. None for a function."""
    task_queue: str | None = None
    """Whose workers run it when a start names none; None: those of whoever starts it."""

    @property
    def recorded(self) -> Callable[P, R_co]:
        """The call as history sees it: its arguments, and the result without the coroutine around it.

        For type checkers (`startable.py`): at run time the function itself.
        """
        return self.fn


AnyActivity = ActivityDefinition[Any, Any]
AnyWorkflow = WorkflowDefinition[Any, Any]
D = TypeVar("D", bound=Definition[Any, Any])


_methods: dict[str, AnyActivity] = {}
"""Activities that are methods and have no object, by name: what is to be said when one is asked for."""

_PLURAL = {"workflow": "workflows", "activity": "activities"}


class Shelf(Generic[D]):
    """Definitions of one kind, by name.

    Args:
        word: "workflow" or "activity".
        kind: their class.
        collecting: two of one name are no error until that name is asked for. Importing must not fail because
            two scripts, each fine by itself, came into one process (a test session does that).
    """

    def __init__(self, word: str, kind: type[D], *, collecting: bool = False) -> None:
        self._word = word
        self._kind = kind
        self._collecting = collecting
        self._found: dict[str, D] = {}
        self._dynamic: D | None = None
        self._ambiguous: dict[str, list[D]] = {}

    def add(self, definition: Any) -> None:
        """Raises DefinitionError when it is something else, or another function has its name."""
        if not isinstance(definition, self._kind):
            name = getattr(definition, "__qualname__", definition)
            raise DefinitionError(f"{name!r} is not decorated with @{self._word}")
        if not getattr(definition, "is_declared", True):
            raise DefinitionError(needs_object(cast(Any, definition)))
        if not definition.has_code:
            raise DefinitionError(f"{self._word} {definition.name!r} is known by its name alone: it cannot be run here")
        if definition.dynamic:
            self._add_dynamic(definition)
            return
        name = definition.name
        same_name = self._ambiguous.pop(name, None) or [self._found[name]] if name in self._found else []
        others = [other for other in same_name if not self._replaces(definition, other)]
        if others and not self._collecting:
            raise DefinitionError(self._two_of_one_name(others[0], definition))
        if others:
            self._ambiguous[name] = [*others, definition]
        self._found[name] = definition

    def _add_dynamic(self, definition: D) -> None:
        """Raises DefinitionError when there is another one."""
        other = self._dynamic
        if other is not None and not self._collecting and not self._replaces(definition, other):
            raise DefinitionError(
                f"two {_PLURAL[self._word]} are dynamic: {other.location} and {definition.location}; one must do"
            )
        self._dynamic = definition

    def _replaces(self, definition: D, other: D) -> bool:
        one, two = getattr(definition, "instance", None), getattr(other, "instance", None)
        if one is not two and not self._collecting:
            return False  # two objects of one class, or an object's beside a function
        return _replaces(definition, other)

    def set_aside(self, method: D) -> None:
        """What was added turns out to be a method: it is run for an object alone."""
        _methods[method.name] = cast(AnyActivity, method)
        if self._found.get(method.name) is method:
            del self._found[method.name]
        left = [other for other in self._ambiguous.pop(method.name, ()) if other is not method]
        if left:
            self._found[method.name] = left[-1]
        if len(left) > 1:
            self._ambiguous[method.name] = left

    def get(self, name: str) -> D | None:
        """The latest of that name."""
        return self._found.get(name)

    def all(self) -> list[D]:
        """Every definition, those that share a name too."""
        single = [found for name, found in self._found.items() if name not in self._ambiguous]
        if self._dynamic is not None:
            single.append(self._dynamic)
        return [*single, *(one for declared in self._ambiguous.values() for one in declared)]

    def empty(self) -> Shelf[D]:
        """Another shelf of this kind with nothing on it."""
        return Shelf(self._word, self._kind, collecting=self._collecting)

    def find(self, name: str) -> D:
        """Raises UnknownTypeError, which lists the known names, or names both places of two of one name."""
        if self._ambiguous and name in self._ambiguous:
            raise UnknownTypeError(self._two_of_one_name(*self._ambiguous[name][:2]))
        found = self._found.get(name, self._dynamic)
        if found is None:
            method = _methods.get(name) if self._word == "activity" else None
            names = ", ".join(sorted(self._found)) or "none"
            hint = "" if method is None else f"; {needs_object(method)}"
            raise UnknownTypeError(
                f"{self._word} type {name!r} is not registered with this worker; it knows: {names}{hint}"
            )
        return found

    def complaints(self) -> list[str]:
        """What is to be said of names that are taken twice."""
        return [self._two_of_one_name(*declared[:2]) for declared in self._ambiguous.values()]

    def _two_of_one_name(self, one: D, other: D) -> str:
        plural = _PLURAL[self._word]
        return (
            f"two {plural} are named {one.name!r}: {one.location} and {other.location}; give one of them another name, "
            f"as in @{self._word}(name=...), or tell the engine what to run, as in Engine(..., {plural}=[...])"
        )


def needs_object(method: AnyActivity) -> str:
    """What is to be said of a method that has no object."""
    if method.owner is None:
        return f"{method.__qualname__} is a method whose class does not know it: write @activity above @classmethod"
    cls = method.owner.__name__
    return (
        f"{method.__qualname__} is a method, and is run for an object: give the engine one, as in "
        f"Engine(..., activities=[{cls}(...)])"
    )


def _replaces(definition: Definition[Any, Any], other: Definition[Any, Any]) -> bool:
    """Whether this is the other one again: reloaded, run again in a notebook, or local to some function."""
    return (
        definition.fn is other.fn
        or definition.location == other.location
        or (definition.__module__, definition.__qualname__) == (other.__module__, other.__qualname__)
        or definition.is_local
        or other.is_local
    )


class Registry:
    """The workflows and activities that a worker can run, by name.

    Args:
        workflows: the definitions, or a shelf to share.
        activities: likewise.

    Raises:
        DefinitionError: something is not decorated, or two of one name.
    """

    def __init__(
        self, workflows: Iterable[Any] | Shelf[AnyWorkflow] = (), activities: Iterable[Any] | Shelf[AnyActivity] = ()
    ) -> None:
        self.workflows = (
            workflows if isinstance(workflows, Shelf) else _shelf_of("workflow", WorkflowDefinition, workflows)
        )
        self.activities = (
            activities if isinstance(activities, Shelf) else _shelf_of("activity", ActivityDefinition, activities)
        )

    def add(self, definition: Definition[Any, Any]) -> None:
        """Raises DefinitionError when another function has that name."""
        shelf: Shelf[Any] = self.workflows if issubclass(type(definition), WorkflowDefinition) else self.activities
        shelf.add(definition)

    def workflow(self, name: str) -> AnyWorkflow:
        """Raises UnknownTypeError."""
        return self.workflows.find(name)

    def activity(self, name: str) -> AnyActivity:
        """Raises UnknownTypeError."""
        return self.activities.find(name)


def _shelf_of(word: str, kind: type[Any], definitions: Iterable[Any] | Shelf[Any]) -> Shelf[Any]:
    if isinstance(definitions, Shelf):
        return definitions
    shelf = Shelf[Any](word, kind)
    for item in definitions:
        for definition in _definitions_in(item, kind):
            shelf.add(definition)
    return shelf


def _definitions_in(item: Any, kind: type[Any]) -> list[Any]:
    """A definition itself; those of a module; the methods of an object that are activities.

    Raises DefinitionError for a class whose methods need an object.
    """
    if isinstance(item, kind):
        return [item]
    if isinstance(item, ModuleType):
        found = [member for member in vars(item).values() if isinstance(member, kind)]
        return list({id(member): member for member in found}.values())
    cls = item if isinstance(item, type) else type(item)
    members = inspect.getmembers_static(cls) if kind is ActivityDefinition else ()
    methods = [name for name, member in members if isinstance(getattr(member, "__func__", member), kind)]
    return [getattr(item, name) for name in methods] or [item]


default_registry = Registry(
    Shelf("workflow", cast("type[AnyWorkflow]", WorkflowDefinition), collecting=True),
    Shelf("activity", cast("type[AnyActivity]", ActivityDefinition), collecting=True),
)
"""Everything decorated in this process."""
