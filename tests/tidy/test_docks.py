"""What has to be said in several places is said in all of them: `docs/where.md` lists the places.

A new command, event, option, listener, record kind, store or noun of the command line that was forgotten somewhere
fails here by its name, and not one day as a KeyError.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from temporalio.api.enums.v1 import CommandType, EventType

import perdure.cli
import perdure.engine
import perdure.engine.records
import perdure.sdk
from perdure.cli.main import cli
from perdure.core import completion, execution, fold, validation
from perdure.engine import Engine, EngineConfig, NodeConfig
from perdure.engine.feed.feed import Feed, Listener
from perdure.sdk import interceptors
from perdure.sdk.activity import activity
from perdure.sdk.declare.definitions import ActivityDefinition
from perdure.sdk.options import ActivityOptions, activity_options
from perdure.stores.memory import MemoryStore
from tests.tidy.files import text_of


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """All that are in a package, at any depth."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield import_module(found.name)


def names_of(enum: Any, numbers: Iterable[int]) -> set[str]:
    return {enum.Name(number) for number in numbers}


def test_every_command_of_a_workflow_is_judged_and_applied_or_refused_by_name() -> None:
    judged, applied = set(validation._JUDGES), set(completion._APPLY)
    assert names_of(CommandType, judged ^ applied) == set()
    known = judged | set(validation._UNSUPPORTED)
    assert names_of(CommandType, set(CommandType.values()) - known) == {"COMMAND_TYPE_UNSPECIFIED"}


def test_every_event_of_history_is_folded_or_written_by_nobody_here() -> None:
    assert execution.decide  # all entities are imported, and have registered
    unfolded = names_of(EventType, set(EventType.values()) - set(fold._FOLDS))
    written = {name for name in unfolded if "NEXUS" not in name}
    assert written == {
        "EVENT_TYPE_UNSPECIFIED",
        "EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_REJECTED",
        "EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY",
        "EVENT_TYPE_ACTIVITY_PROPERTIES_MODIFIED_EXTERNALLY",
        "EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED",
    }


def options_taken(function: Any, *others: str) -> set[str]:
    """The names of a function's keyword parameters, less those that are none of an activity's options."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - set(others)


def test_an_option_of_an_activity_can_be_given_wherever_options_are_given() -> None:
    kept = {field.name for field in fields(ActivityOptions)}
    taken = options_taken(activity_options)
    assert {name.removesuffix("_timeout") for name in taken} == {
        name.removesuffix("_ns").removesuffix("_timeout") for name in kept
    }
    assert options_taken(ActivityDefinition.options) == taken
    assert options_taken(type(activity).__call__, "name", "run_in", "transactional", "dynamic") == taken
    no_local_call = {"local_retry_threshold"}  # the code of one that is only named is elsewhere
    assert options_taken(type(activity).named, "returns") == taken - no_local_call


def test_whoever_can_hear_of_commits_is_subscribed_to_the_feed() -> None:
    able = {
        kind.__name__
        for module in modules(perdure.engine)
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and {"hear", "gap"} <= vars(kind).keys()
    }
    one_of_many = Engine(MemoryStore(), config=EngineConfig(node=NodeConfig()))
    subscribed = {type(listener).__name__ for _, listener in one_of_many.feed._listeners}
    assert able - {Feed.__name__, Listener.__name__} == subscribed


def test_the_end_of_each_chain_of_interceptors_does_all_that_they_can_be_asked() -> None:
    """A method that the end inherits would call a next one, and there is none."""
    ends = {end for module in modules(perdure.sdk) for end in vars(module).values() if inspect.isclass(end)}
    for base in interceptors._Link.__subclasses__():
        asked = {name for name in vars(base) if not name.startswith("_")}
        own = [end for end in ends if issubclass(end, base) and end is not base]
        assert own, base
        assert [(end, asked - vars(end).keys()) for end in own if asked - vars(end).keys()] == []


def test_every_kind_of_record_has_an_owner_that_is_woken() -> None:
    kinds = {module.KIND for module in modules(perdure.engine.records) if hasattr(module, "KIND")}
    assert kinds == set(Engine(MemoryStore()).record_waker.kinds)


def stores_named_in(path: str) -> set[str]:
    """The classes of stores that a file imports."""
    tree = ast.parse(text_of(Path(path)))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return {name for name in imported if name.endswith("Store") and name != "Store"}


def test_every_store_that_a_url_can_name_is_held_to_the_same_tests() -> None:
    assert stores_named_in("src/perdure/stores/open.py") == stores_named_in("tests/stores/conftest.py")


def test_every_noun_of_the_command_line_is_under_perdure() -> None:
    nouns = {
        noun.name
        for module in modules(perdure.cli)
        for noun in vars(module).values()
        if isinstance(noun, click.Group) and noun is not cli
    }
    inner = {name for command in cli.commands.values() if isinstance(command, click.Group) for name in command.commands}
    assert nouns - inner <= cli.commands.keys()
