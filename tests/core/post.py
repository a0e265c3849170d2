"""Several workflow ids, and the post between them: what the engine's outbox does, one message at a time."""

from __future__ import annotations

from collections import deque
from typing import Any

from temporalio.api.command.v1 import Command
from temporalio.api.workflowservice.v1 import (
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)

from perdure.api import enums
from perdure.api.errors import Rejected
from perdure.core import commands as law
from perdure.core.commit import Commit
from perdure.core.message import (
    CancelExternal,
    ChildClosed,
    CloseChild,
    Message,
    Origin,
    SignalExternal,
    StartChild,
    decode_message,
    encode_message,
)
from perdure.core.replies import Started
from tests.core import given
from tests.core.given import World


class Post:
    """Worlds by workflow id. `waiting` holds what is durable and not delivered."""

    def __init__(self) -> None:
        self.worlds: dict[str, World] = {}
        self.waiting: deque[Message] = deque()
        self.removed: set[str] = set()

    def world(self, workflow_id: str) -> World:
        if workflow_id not in self.worlds:
            self.worlds[workflow_id] = Posted(self)
        return self.worlds[workflow_id]

    def take(self, commit: Commit) -> None:
        """A commit is durable."""
        link: Commit | None = commit
        while link is not None:
            for message in link.messages:
                assert decode_message(encode_message(message)) == message
                self.waiting.append(message)
            self.removed.update(link.remove_messages)
            link = link.next_run

    def deliver_all(self, times: int = 1) -> None:
        """Everything that waits, and what comes of it; each message so many times."""
        while self.waiting:
            message = self.waiting.popleft()
            if message.id not in self.removed:
                for _ in range(times):
                    self.deliver(message)

    def deliver(self, message: Message) -> None:
        world = self.world(message.workflow_id)
        world.now_ns = max(other.now_ns for other in self.worlds.values())
        body = message.body
        reply: Any = None
        if isinstance(body, (SignalExternal, CancelExternal)) and body.sender.workflow_id == message.workflow_id:
            reply = None
            refused = True
        else:
            reply = world.when(command_of(message)).replies[0]
            refused = isinstance(reply, Rejected)
        if isinstance(body, StartChild):
            self._resolve_start(message, body, reply)
        elif isinstance(body, (SignalExternal, CancelExternal)):
            cause = enums.EXTERNAL_NOT_FOUND if refused else 0
            resolution = law.ResolveExternal(body.sender.event_id, message.id, cause, body.child_only)
            if self.tell(body.sender, resolution) is False:
                self.waiting.append(message)

    def _resolve_start(self, message: Message, body: StartChild, reply: Started | Rejected) -> None:
        event_id = body.parent.event_id
        if isinstance(reply, Rejected):
            resolution = law.ResolveChildStart(event_id, message.id, "", enums.CHILD_ALREADY_EXISTS)
        else:
            resolution = law.ResolveChildStart(event_id, message.id, reply.first_run_id)
        self.tell(body.parent, resolution)

    def tell(self, sender: Origin, resolution: law.Command) -> Any:
        """What the sender says to it."""
        world = self.world(sender.workflow_id)
        world.now_ns = max(other.now_ns for other in self.worlds.values())
        if world.run.key.run_id == sender.run_id:
            return world.when(resolution).replies[0]
        return None


class Posted(World):
    """A world whose messages go to the post. Its current run alone is reachable."""

    def __init__(self, post: Post) -> None:
        super().__init__()
        self._post = post
        self._ids = 1000 * len(post.worlds)

    def when(self, *commands: law.Command) -> Commit:
        commit = super().when(*commands)
        if commit.changed:
            self._post.take(commit)
        return commit


def command_of(message: Message) -> law.Command:
    body = message.body
    if isinstance(body, StartChild):
        request = StartWorkflowExecutionRequest.FromString(body.request)
        return law.StartWorkflow(request, body.parent, body.root_workflow_id, body.root_run_id)
    if isinstance(body, SignalExternal):
        return law.Signal(SignalWorkflowExecutionRequest.FromString(body.request), body.sender, body.child_only)
    if isinstance(body, CancelExternal):
        request = RequestCancelWorkflowExecutionRequest.FromString(body.request)
        return law.RequestCancel(request, body.sender, body.child_only)
    if isinstance(body, CloseChild):
        return law.CloseChild(body, message.id)
    assert isinstance(body, ChildClosed)
    return law.ChildClosed(body, message.id)


# --- commands of a worker ------------------------------------------------------------------------


def start_child(workflow_id: str = "kid", **fields: Any) -> Command:
    """Fields of the command; floats are seconds. The child's queue is `kid`."""
    command = Command(command_type=enums.COMMAND_START_CHILD_WORKFLOW_EXECUTION)
    attributes = command.start_child_workflow_execution_command_attributes
    attributes.workflow_id = workflow_id
    attributes.workflow_type.name = "package"
    attributes.task_queue.name = "kid"
    attributes.input.CopyFrom(given.payloads('"package"'))
    given.fill(attributes, fields)
    return command


def signal_external(workflow_id: str = "kid", **fields: Any) -> Command:
    command = Command(command_type=enums.COMMAND_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = command.signal_external_workflow_execution_command_attributes
    attributes.execution.workflow_id = workflow_id
    attributes.signal_name = "go"
    attributes.control = "control"
    attributes.input.CopyFrom(given.payloads('"now"'))
    given.fill(attributes, fields)
    return command


def cancel_external(workflow_id: str = "kid", **fields: Any) -> Command:
    command = Command(command_type=enums.COMMAND_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = command.request_cancel_external_workflow_execution_command_attributes
    attributes.workflow_id = workflow_id
    attributes.reason = "enough"
    given.fill(attributes, fields)
    return command
