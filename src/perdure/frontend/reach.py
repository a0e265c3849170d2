"""Which namespaces a request reaches: one rule for each field by which it could name one.

A request is *for* one namespace, which its own field says, or the token of the task that it answers; with both they are
the same. It may *reach* others: a command starts a child there, or signals a workflow. Whoever judges who may do what
asks here (`Call.namespace`, `Call.namespaces`), so a field without a rule would be a way past every interceptor: a test
goes through the descriptors of all RPCs, and knows no exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from perdure.api.errors import Rejected
from perdure.core.tokens import BAD_TASK_TOKEN, decode_token, read
from perdure.engine.matching.query_task import QueryToken
from perdure.engine.namespaces import Namespaces
from perdure.frontend.calls import Call
from perdure.frontend.edge import invalid

_SERVICE = "temporal.api.workflowservice.v1."
_OPERATOR = "temporal.api.operatorservice.v1."


class Reach(Enum):
    """What a field has to do with namespaces."""

    OWN = "the namespace that the request is for"
    TOKEN = "says the namespace that the request is for, and is held against its own field"
    OTHER = "a namespace in which something is done for the request"
    SAID = "kept and shown: nothing is done there"
    NONE = "names none, or is read within the request's own"


_FIELDS: dict[str, Reach] = {
    "temporal.api.command.v1.StartChildWorkflowExecutionCommandAttributes.namespace": Reach.OTHER,
    "temporal.api.command.v1.SignalExternalWorkflowExecutionCommandAttributes.namespace": Reach.OTHER,
    "temporal.api.command.v1.RequestCancelExternalWorkflowExecutionCommandAttributes.namespace": Reach.OTHER,
    "temporal.api.nexus.v1.EndpointTarget.Worker.namespace": Reach.OTHER,
    "temporal.api.common.v1.Link.Activity.namespace": Reach.SAID,
    "temporal.api.common.v1.Link.Callback.namespace": Reach.SAID,
    "temporal.api.common.v1.Link.NexusOperation.namespace": Reach.SAID,
    "temporal.api.common.v1.Link.Workflow.namespace": Reach.SAID,
    "temporal.api.common.v1.Link.WorkflowEvent.namespace": Reach.SAID,
    "temporal.api.failure.v1.ChildWorkflowExecutionFailureInfo.namespace": Reach.SAID,
    "temporal.api.failure.v1.NexusOperationFailureInfo.operation_token": Reach.NONE,
    "temporal.api.nexus.v1.StartOperationResponse.Async.operation_token": Reach.NONE,
    f"{_OPERATOR}DeleteNamespaceRequest.namespace_id": Reach.OWN,
    f"{_OPERATOR}DeleteNamespaceRequest.namespace_delete_delay": Reach.NONE,
    f"{_SERVICE}DescribeNamespaceRequest.id": Reach.OWN,
    f"{_SERVICE}ListNamespacesRequest.namespace_filter": Reach.NONE,
    f"{_SERVICE}RegisterNamespaceRequest.is_global_namespace": Reach.NONE,
    f"{_SERVICE}UpdateNamespaceRequest.promote_namespace": Reach.NONE,
}
_NAMES: dict[str, Reach] = {
    "task_token": Reach.TOKEN,
    "next_page_token": Reach.NONE,
    "long_poll_token": Reach.NONE,
    "conflict_token": Reach.NONE,
    "security_token": Reach.NONE,
}
"""Of the fields of requests themselves. A page token says a place in a list or a run, which is looked for in the
namespace of the request."""


def rule_of(field: FieldDescriptor, request: Descriptor) -> Reach | None:
    """The rule for a field of a request, or of a message in it. None: there is none."""
    rule = _FIELDS.get(field.full_name)
    owner = field.containing_type
    if rule is None and owner is not None and owner.full_name.startswith((_SERVICE, _OPERATOR)):
        rule = _NAMES.get(field.name)
        if field.name == "namespace":
            rule = Reach.OWN if owner is request else Reach.OTHER
    return rule


# --- the namespace that a request is for ----------------------------------------------------------

Take = Callable[[Any, Call, Namespaces], str]
"""The namespace of a request, when that is more than its field. Raises Rejected."""


class Naming(NamedTuple):
    """How a kind of request says which namespace it is for."""

    has_field: bool
    must_exist: bool
    """The chain asks whether it is there. Otherwise it is what the RPC is about, and the handler's to judge."""
    take: Take | None = None


def naming_of(request: Descriptor) -> Naming:
    """Raises KeyError for a request whose task token nobody can read."""
    name = request.full_name
    fields = request.fields_by_name
    if "task_token" in fields:
        return Naming(True, True, _TOKENS[name])
    if name in _ABOUT_NAMESPACES:
        return Naming(True, False, _ABOUT_NAMESPACES[name])
    return Naming("namespace" in fields, "namespace" in fields)


def _of_task(request: Any, call: Call, namespaces: Namespaces) -> str:
    data, said = request.task_token, request.namespace
    if not data:
        raise invalid("Task token not set on request.")
    token = call.token = decode_token(data)
    namespace = token.key.namespace
    if said and said != namespace:
        raise _foreign(said, namespaces)
    return namespace


_decode_query = msgspec.msgpack.Decoder(QueryToken).decode


def _of_query(request: Any, call: Call, namespaces: Namespaces) -> str:
    if not request.task_token:
        raise invalid("Task token not set on request.")
    token = call.token = read(_decode_query, request.task_token, BAD_TASK_TOKEN)
    if request.namespace and request.namespace != token.namespace:
        raise _foreign(request.namespace, namespaces)
    return token.namespace


def _foreign(said: str, namespaces: Namespaces) -> Rejected:
    """The refusal of a token that is not of the namespace that the request names: as Temporal's server has it, that
    one is looked for first. Raises Rejected NOT_FOUND."""
    namespaces.get(said)
    return invalid("Operation requested with a token from a different namespace.")


def _by_id(request: Any, call: Call, namespaces: Namespaces) -> str:
    """A namespace that may be said by its id; "" when there is none of that id."""
    namespace_id = request.id if call.rpc == "DescribeNamespace" else request.namespace_id
    if request.namespace or not namespace_id:
        return str(request.namespace)
    return next((one.name for one in namespaces.all() if one.id == namespace_id), "")


_TOKENS: dict[str, Take] = {
    f"{_SERVICE}RespondWorkflowTaskCompletedRequest": _of_task,
    f"{_SERVICE}RespondWorkflowTaskFailedRequest": _of_task,
    f"{_SERVICE}RespondActivityTaskCompletedRequest": _of_task,
    f"{_SERVICE}RespondActivityTaskFailedRequest": _of_task,
    f"{_SERVICE}RespondActivityTaskCanceledRequest": _of_task,
    f"{_SERVICE}RecordActivityTaskHeartbeatRequest": _of_task,
    f"{_SERVICE}RespondQueryTaskCompletedRequest": _of_query,
}
_ABOUT_NAMESPACES: dict[str, Take | None] = {
    f"{_SERVICE}RegisterNamespaceRequest": None,
    f"{_SERVICE}DescribeNamespaceRequest": _by_id,
    f"{_SERVICE}UpdateNamespaceRequest": None,
    f"{_SERVICE}DeprecateNamespaceRequest": None,
    f"{_OPERATOR}DeleteNamespaceRequest": _by_id,
    f"{_OPERATOR}AddSearchAttributesRequest": None,
    f"{_OPERATOR}RemoveSearchAttributesRequest": None,
    f"{_OPERATOR}ListSearchAttributesRequest": None,
}


# --- all namespaces that it reaches ---------------------------------------------------------------


def namespaces_of(request: Any, own: str) -> tuple[str, ...]:
    """All namespaces that the request reaches, its `own` first ("": it is of the server as a whole), each once.

    An empty field means the request's own, as it does for Temporal.
    """
    others = [name for name in _others(request, _paths(request.DESCRIPTOR)) if name and name != own]
    return (own, *dict.fromkeys(others)) if own else tuple(dict.fromkeys(others))


_Paths = dict[str, "_Paths | None"]
"""Of a kind of message: its fields that name a namespace (None), and those within which one may be named."""
_known: dict[str, _Paths] = {}


def _others(message: Any, paths: _Paths) -> Iterator[str]:
    for name, within in paths.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if within is None:
            yield getattr(message, name)
        elif field.is_repeated:
            for one in getattr(message, name):
                yield from _others(one, within)
        elif message.HasField(name):
            yield from _others(getattr(message, name), within)


def _paths(request: Descriptor) -> _Paths:
    paths = _known.get(request.full_name)
    if paths is None:
        paths = _known[request.full_name] = _find(request, request, ())
    return paths


def _find(owner: Descriptor, request: Descriptor, above: Sequence[str]) -> _Paths:
    """Kinds of messages that contain themselves (failures) are looked into once: none of their fields is OTHER."""
    paths: _Paths = {}
    for field in owner.fields:
        if rule_of(field, request) is Reach.OTHER:
            paths[field.name] = None
        kind = field.message_type
        if kind is not None and not kind.GetOptions().map_entry and kind.full_name not in above:
            within = _find(kind, request, (*above, owner.full_name))
            if within:
                paths[field.name] = within
    return paths
