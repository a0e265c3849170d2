"""Which namespaces a request reaches: no field of any RPC by which it could name one is without a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from temporalio.api.command.v1 import Command
from temporalio.api.workflowservice import v1 as service

from perdure.frontend import WorkflowService
from perdure.frontend.operator_service import OperatorService
from perdure.frontend.reach import Reach, namespaces_of, naming_of, rule_of
from perdure.frontend.rpcs import OPERATOR_SERVICE, SERVICES, WORKFLOW_SERVICE, rpcs
from tests.engine.world import World, virtual

METHODS: list[MethodDescriptor] = [method for one in SERVICES.values() for method in one.methods]
Path = tuple[FieldDescriptor, ...]


def fields_of(owner: Descriptor, above: Path = ()) -> Iterator[Path]:
    """The ways to every field of a message and of those in it; a kind that contains itself is gone into once."""
    for field in owner.fields:
        path = (*above, field)
        yield path
        kind = field.message_type
        if kind is not None and all(kind is not one.message_type for one in above):
            yield from fields_of(kind, path)


def could_name(field: FieldDescriptor) -> bool:
    """Whether the field is one that a rule must be about."""
    return "namespace" in field.name or "token" in field.name


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_field_that_could_name_a_namespace_has_a_rule(method: MethodDescriptor) -> None:
    request = method.input_type
    could = [path[-1] for path in fields_of(request) if could_name(path[-1])]
    without = [field.full_name for field in could if rule_of(field, request) is None]
    assert not without, "say in frontend/reach.py what these have to do with namespaces"


def filled(path: Path, value: str) -> Any:
    """A request in which this field alone is set."""
    owner = path[0].containing_type
    assert owner is not None
    request: Any = GetMessageClass(owner)()
    message = request
    for field in path[:-1]:
        message = getattr(message, field.name)
        if field.is_repeated:
            message = message.add()
    setattr(message, path[-1].name, value)
    return request


def plain(path: Path) -> bool:
    """Whether no map is on the way."""
    return not any(field.message_type is not None and field.message_type.GetOptions().map_entry for field in path)


def test_what_a_rule_calls_another_namespace_is_found_wherever_it_is_said_and_nothing_else() -> None:
    others, said = set[str](), set[str]()
    for method in METHODS:
        for path in fields_of(method.input_type):
            rule = rule_of(path[-1], method.input_type)
            if rule is Reach.OTHER:
                assert plain(path), path[-1].full_name
                assert namespaces_of(filled(path, "elsewhere"), "here") == ("here", "elsewhere"), path[-1].full_name
                assert namespaces_of(filled(path, "here"), "here") == ("here",)
                others.add(path[-1].full_name)
            elif rule is Reach.SAID and plain(path):
                assert namespaces_of(filled(path, "elsewhere"), "here") == ("here",), path[-1].full_name
                said.add(path[-1].full_name)
    assert len(others) == 6, sorted(others)
    assert len(said) == 6, sorted(said)


def test_what_says_the_namespace_that_a_request_is_for_is_read() -> None:
    """Its field, and its token: a token that nobody can read would be a way past the chain."""

    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            objects = {WORKFLOW_SERVICE: WorkflowService(engine), OPERATOR_SERVICE: OperatorService(engine)}
            for rpc in rpcs(objects):
                request: Any = rpc.request.DESCRIPTOR
                rules = {field.name: rule_of(field, request) for field in request.fields}
                own = [name for name, rule in rules.items() if rule is Reach.OWN]
                if rpc.handler is None:
                    continue
                has_field, must_exist, take = naming_of(request)
                assert has_field == ("namespace" in own), rpc.name
                assert (take is not None) == (Reach.TOKEN in rules.values() or len(own) > 1), rpc.name
                assert must_exist or not own or "namespace" in rpc.name.lower() or "SearchAttributes" in rpc.name

    scenario()


def test_a_token_that_nobody_can_read_is_not_served() -> None:
    request: Any = service.RespondNexusTaskCompletedRequest.DESCRIPTOR
    with pytest.raises(KeyError):
        naming_of(request)


def test_each_namespace_is_said_once_and_its_own_first() -> None:
    commands = [Command(), Command(), Command(), Command()]
    commands[0].start_child_workflow_execution_command_attributes.namespace = "there"
    commands[1].signal_external_workflow_execution_command_attributes.namespace = ""
    commands[2].request_cancel_external_workflow_execution_command_attributes.namespace = "farther"
    commands[3].signal_external_workflow_execution_command_attributes.namespace = "there"
    request = service.RespondWorkflowTaskCompletedRequest(namespace="here", commands=commands)
    assert namespaces_of(request, "here") == ("here", "there", "farther")
    assert namespaces_of(service.GetSystemInfoRequest(), "") == ()
