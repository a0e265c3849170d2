"""What is said to an option that there is not: the one that was meant, and all that there are.

Python says of an unknown keyword that it was not expected. Whoever comes from Temporal writes
`retry_policy=`, whoever comes from a task queue `retries=3`, and neither can guess ours. So functions
with options are given to `lists_options`, which looks at the keywords of a call before the call is made. Their
signatures stay as they are, for type checkers and for `help`. A keyword of the version before is taken for that of now.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from types import FunctionType
from typing import Any, Final, ForwardRef, TypeVar

from perdure.sdk.choices import nearest
from perdure.sdk.deprecated import RENAMED_OPTIONS, by_new_names
from perdure.sdk.wrapping import mark_coroutine_function

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__perdure_lists_options__"

HIDDEN: Final = frozenset({"self", "fn", "seams"})
"""Parameters that no user gives by name."""

_TEMPORALS: Final[dict[str, tuple[str, ...]]] = {
    "activity_id": ("id",),
    "cancellation_type": ("cancellation",),
    "cron_expressions": ("cron",),
    "cron_schedule": ("cron",),
    "data_converter": ("converter", "codec"),
    "execute_timeout": ("execution_timeout",),
    "failure_exception_types": ("fail_on",),
    "graceful_shutdown_timeout": ("shutdown_grace",),
    "max_concurrent_activities": ("activity_slots",),
    "max_concurrent_activity_tasks": ("max_concurrent_activities", "activity_slots"),
    "max_concurrent_workflow_tasks": ("workflow_slots",),
    "payload_codec": ("codec",),
    "policy": ("overlap",),
    "result_type": ("returns",),
    "retry_policy": ("retry",),
    "sandboxed": ("guard",),
    "schedule_id": ("id",),
    "trigger_immediately": ("trigger",),
    "unfinished_policy": ("unfinished",),
    "wait_for_stage": ("wait_for",),
    "workflow_execution_timeout": ("execution_timeout",),
    "workflow_id": ("id",),
    "workflow_id_conflict_policy": ("id_conflict_policy",),
    "workflow_id_reuse_policy": ("id_reuse_policy",),
    "workflow_run_timeout": ("run_timeout",),
    "workflow_task_timeout": ("task_timeout",),
}
"""Names that Temporal's SDKs and API have for what we have too, and the names that it may have here."""

_USUAL: Final[dict[str, tuple[str, ...]]] = {
    "attempts": ("maximum_attempts", "retry"),
    "backoff": ("initial_interval", "retry"),
    "backoff_factor": ("backoff_coefficient",),
    "concurrency": ("max_concurrent_activities", "activity_slots"),
    "coefficient": ("backoff_coefficient",),
    "countdown": ("start_delay",),
    "delay": ("start_delay", "initial_interval"),
    "factor": ("backoff_coefficient",),
    "interval": ("every", "initial_interval"),
    "key": ("id",),
    "max": ("maximum_attempts",),
    "max_attempts": ("maximum_attempts", "retry"),
    "max_delay": ("maximum_interval",),
    "max_interval": ("maximum_interval",),
    "max_retries": ("maximum_attempts", "retry"),
    "max_workers": ("max_concurrent_activities", "activity_slots"),
    "maximum_attempts": ("retry",),
    "multiplier": ("backoff_coefficient",),
    "non_retryable": ("non_retryable_error_types",),
    "on_conflict": ("id_conflict_policy",),
    "queue": ("task_queue",),
    "retries": ("maximum_attempts", "retry"),
    "retryable": ("non_retryable",),
    "return_type": ("returns",),
    "schedule": ("cron", "every"),
    "time_limit": ("start_to_close_timeout", "execution_timeout"),
    "timeout": ("start_to_close_timeout", "execution_timeout"),
    "timezone": ("time_zone",),
    "tz": ("time_zone",),
    "workers": ("max_concurrent_activities", "activity_slots"),
}
"""Names that other tools have for it."""

_SHOWN: Final = {
    "retry": "retry=Retry(maximum_attempts=...)",
    "guard": "guard=False",
}
"""Options whose value is not plain."""


def lists_options(thing: T) -> T:
    """A function, or the public methods and the constructor of a class, with unknown keywords refused in a sentence."""
    if isinstance(thing, type):
        for name, member in list(vars(thing).items()):
            if name != "__init__" and name.startswith("_"):
                continue
            what = thing.__name__ if name == "__init__" else name
            if isinstance(member, staticmethod):
                setattr(thing, name, staticmethod(_checked(member.__func__, what)))
            elif isinstance(member, FunctionType):
                setattr(thing, name, _checked(member, what))
        return thing
    return _checked(thing, thing.__name__)  # pyright: ignore


def options_of(what: str) -> Callable[[F], F]:
    """As `lists_options`, for a function that users know by another name than its own."""
    return lambda fn: _checked(fn, what)


def takes_options(options: type, **defaults: Any) -> Callable[[F], F]:
    """A function whose last parameter is `**options`, with a signature that names each, for all that reads signatures.

    Args:
        options: a TypedDict, which says them once: for type checkers, for `help`, for `lists_options`.
        defaults: of those that do not have None.
    """

    def decorate(fn: F) -> F:
        signature = inspect.signature(fn)
        parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        for name, annotation in options.__annotations__.items():
            text = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else annotation
            kind, default = inspect.Parameter.KEYWORD_ONLY, defaults.get(name)
            parameters.append(inspect.Parameter(name, kind, default=default, annotation=text))
        signed: Any = fn
        signed.__signature__ = signature.replace(parameters=parameters)
        return fn

    return decorate


def _checked(fn: Any, what: str) -> Any:
    if hasattr(getattr(fn, "__wrapped__", fn), _MARK):
        return fn  # a bridge to what is checked already
    parameters = list(inspect.signature(fn).parameters.values())
    if not any(p.kind is p.KEYWORD_ONLY or p.default is not p.empty for p in parameters) or any(
        p.kind is p.VAR_KEYWORD for p in parameters
    ):
        return fn
    known = {p.name: None for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}

    @wraps(fn)
    def checked(*args: Any, **options: Any) -> Any:
        if options and not options.keys() <= known.keys():
            options = by_new_names(f"{what}()" if what.isidentifier() else what, options, known)
            if not options.keys() <= known.keys():
                raise _refusal(what, parameters, args, options)
        return fn(*args, **options)

    setattr(checked, _MARK, True)
    if inspect.iscoroutinefunction(fn):
        mark_coroutine_function(checked)
    return checked


def _refusal(
    what: str, parameters: Iterable[inspect.Parameter], args: tuple[Any, ...], options: Mapping[str, Any]
) -> TypeError:
    known = [p.name for p in parameters if _is_option(p)]
    given = next(name for name in options if name not in {p.name for p in parameters})
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        for callee in args:
            names = _parameters_of(callee)
            if given in names:
                shown = ", ".join([callee.name, *names])
                return TypeError(
                    f"{what}() has no option {given!r}: it is an argument of {callee.name}, and arguments are given by "
                    f"position, as in {what}({shown}); the options are: {', '.join(known)}"
                )
    return unknown_option(f"{what}()" if what.isidentifier() else what, given, known)


def _is_option(parameter: inspect.Parameter) -> bool:
    """What may be left out, or is given by name only."""
    is_optional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is not parameter.empty
    return (is_optional or parameter.kind is parameter.KEYWORD_ONLY) and parameter.name not in HIDDEN


def _parameters_of(callee: Any) -> list[str]:
    """Of a definition, the names of its parameters; of anything else none."""
    signature = getattr(callee, "signature", None) if hasattr(callee, "location") else None
    return list(signature.parameters) if isinstance(signature, inspect.Signature) else []


def unknown_option(what: str, given: str, known: Iterable[str], noun: str = "option") -> TypeError:
    """The error for a keyword that there is not.

    Args:
        what: what was called, as the user wrote it.
        given: the keyword.
        known: those that there are, in the order in which they are to be listed.
        noun: what they are.
    """
    known = list(known)
    listed = f"the {noun}s are: {', '.join(known)}" if known else f"it has no {noun}s"
    meant = meant_by(given, known)
    instead = f": write {_SHOWN.get(meant, meant)}" if meant else ""
    return TypeError(f"{what} has no {noun} {given!r}{instead}; {listed}")


def meant_by(given: str, known: Iterable[str]) -> str | None:
    """Which of the known names is meant by one that is not known; None when nobody can tell."""
    known = list(known)
    renamed = RENAMED_OPTIONS.get(given.lower())
    if renamed in known:
        return renamed
    for names in (_TEMPORALS, _USUAL):
        for candidate in names.get(given.lower(), ()):
            if candidate in known:
                return candidate
    return nearest(given.lower(), known, 0.7)
