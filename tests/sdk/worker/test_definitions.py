"""Declarations: what a decorator refuses, how names are found, what a definition knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from perdure.sdk.activity import activity
from perdure.sdk.declare.definitions import (
    ActivityDefinition,
    Registry,
    Shelf,
    SyncActivity,
    WorkflowDefinition,
    default_registry,
)
from perdure.sdk.errors import DefinitionError, UnknownTypeError
from perdure.sdk.options import activity_options

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers


@activity
def transfer(source: str, amount: int = 5, *rest: float) -> bool:
    """Moves money."""
    return True


@activity(name="pay-out", start_to_close_timeout="5s")
async def pay_out(amount: int) -> str:
    return "paid"


def defined_elsewhere(name: str, line: int, module: str = "elsewhere") -> SyncActivity[Any, Any]:
    """An activity as if it stood at module level on that line of another file."""
    code = f"{chr(10) * line}def {name}(): pass"
    namespace: dict[str, Any] = {"__name__": module}
    exec(compile(code, f"{module}.py", "exec"), namespace)
    return SyncActivity(namespace[name], name=None, options=activity_options())


def test_a_definition_looks_like_its_function() -> None:
    assert (transfer.__name__, transfer.__doc__, transfer.__module__) == ("transfer", "Moves money.", __name__)
    assert (transfer.name, pay_out.name) == ("transfer", "pay-out")
    assert (transfer.run_in, pay_out.run_in) == ("thread", "loop")
    assert transfer.location.startswith(__file__)


def test_its_types_come_from_the_annotations() -> None:
    assert transfer.argument_types == [str, int]
    assert transfer.return_type is bool


def test_an_annotation_that_only_checkers_see_leaves_values_untyped() -> None:
    @activity
    def typed_for_checkers(amount: OnlyForCheckers) -> OnlyForCheckers:
        return amount

    assert typed_for_checkers.argument_types == [Any]
    assert typed_for_checkers.return_type is Any


@pytest.mark.parametrize(
    ("args", "kwargs", "recorded"),
    [
        (("a",), {}, ("a",)),
        (("a", 1, 2.0, 3.0), {}, ("a", 1, 2.0, 3.0)),
        ((), {"source": "a"}, ("a", 5)),
        (("a",), {"amount": 7}, ("a", 7)),
    ],
)
def test_a_call_is_recorded_by_position(args: Any, kwargs: Any, recorded: Any) -> None:
    assert transfer.bind(args, kwargs) == recorded


def test_a_call_that_does_not_fit_is_refused_as_python_would() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'source'"):
        transfer.bind((), {})
    with pytest.raises(TypeError, match="too many positional arguments"):
        pay_out.bind((1, 2), {})
    with pytest.raises(TypeError, match="has no parameter 'nope'; the parameters are: source, amount"):
        transfer.bind((), {"source": "a", "nope": 1})


def test_keyword_only_parameters_cannot_be_recorded() -> None:
    @activity
    def strict(*, amount: int) -> None: ...

    with pytest.raises(TypeError, match="keyword-only"):
        strict.bind((), {"amount": 1})
    with pytest.raises(TypeError, match="required"):
        strict.bind((), {})


def test_options_make_a_changed_copy() -> None:
    faster = pay_out.options(start_to_close_timeout="1s")
    assert faster.activity_options.start_to_close_ns == 1_000_000_000
    assert pay_out.activity_options.start_to_close_ns == 5_000_000_000
    assert (faster.name, type(faster)) == ("pay-out", type(pay_out))
    assert asyncio.run(faster(3)) == "paid"


def test_only_what_can_run_can_be_declared() -> None:
    refusals: list[tuple[Callable[[], Any], str]] = [
        (
            lambda: activity(run_in="moon")(transfer.fn),
            "must be one of 'auto', 'loop', 'thread', 'process', not 'moon'",
        ),
        (lambda: activity(run_in="loop")(transfer.fn), "on the loop it would block everything"),
        (lambda: activity(run_in="thread")(pay_out.fn), "it runs on the event loop"),
        (lambda: activity(run_in="process", name="x")(lambda: None), "another process cannot import it"),
        (lambda: activity(int), "@activity takes a function, and int is a class"),
        (lambda: activity(generator), "is a generator"),
    ]
    for declare, complaint in refusals:
        with pytest.raises(DefinitionError, match=complaint):
            declare()
    with pytest.raises(ValueError, match="heartbeat_timeout must be longer than nothing"):
        activity(heartbeat_timeout=0)
    with pytest.raises(TypeError, match=r"retry must be a Retry, not int: write retry=Retry\(maximum_attempts=5\)"):
        activity(retry=5)  # pyright: ignore[reportArgumentType] - that is the point


def generator() -> Any:
    yield 1


def test_two_functions_of_one_name_are_refused_with_both_places() -> None:
    registry = Registry()
    registry.add(defined_elsewhere("charge", 3))
    with pytest.raises(DefinitionError, match=r"named 'charge': elsewhere.py:4 and shop.py:8; .*name=") as raised:
        registry.add(defined_elsewhere("charge", 7, "shop"))
    assert isinstance(raised.value, ValueError)


def test_importing_two_of_one_name_is_no_error_but_asking_for_it_is() -> None:
    shelf = Shelf("activity", ActivityDefinition, collecting=True)
    for definition in (defined_elsewhere("charge", 3), defined_elsewhere("refund", 3)):
        shelf.add(definition)
    assert shelf.complaints() == []
    latest = defined_elsewhere("charge", 7, "shop")
    shelf.add(latest)
    assert shelf.get("charge") is latest
    assert shelf.find("refund").name == "refund"
    with pytest.raises(UnknownTypeError, match=r"two activities are named 'charge': elsewhere.py:4 and shop.py:8"):
        shelf.find("charge")
    assert len(shelf.complaints()) == 1


def test_the_same_function_again_takes_the_place_of_the_first() -> None:
    registry = Registry()
    for line in (3, 3, 9):
        latest = defined_elsewhere("charge", line)
        registry.add(latest)
        assert registry.activity("charge") is latest


def test_functions_inside_functions_replace_each_other() -> None:
    registry = Registry()

    def one() -> WorkflowDefinition[..., Any]:
        def local() -> int: ...

        return WorkflowDefinition(local, None)

    def two() -> WorkflowDefinition[..., Any]:
        def local() -> str: ...

        return WorkflowDefinition(local, None)

    registry.add(one())
    latest = two()
    registry.add(latest)
    assert registry.workflow("local") is latest


def test_an_unknown_name_lists_the_known() -> None:
    registry = Registry([], [transfer, pay_out])
    with pytest.raises(UnknownTypeError, match=r"'charge' is not registered .* it knows: pay-out, transfer"):
        registry.activity("charge")
    with pytest.raises(UnknownTypeError, match="it knows: none"):
        registry.workflow("charge")


def test_everything_decorated_is_in_the_default_registry() -> None:
    assert default_registry.activity("pay-out") is pay_out


def test_a_definition_is_sent_to_other_processes_by_its_name() -> None:
    assert transfer.__reduce__() == "transfer"
