"""What waits for a worker of another node: who polls which queue there, and questions that are put to them.

Every node says every few seconds which task queues are polled at it. So a worker that polls another node is not taken
for dead here, and a question for it is put to that node, over the wire. The answer comes back to the node that asked,
whichever node the worker gave it to: the query's token names it. A question that is not answered is put again, also to
another node; a node that knows it already does nothing, or says the answer once more.

A question that has to wait for a workflow task may wait at the wrong node: the task goes out where the run's worker
polls. So it waits there as well, goes with the task, and its answer comes back in the same way.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Any
from zlib import crc32

import msgspec
from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.query.v1 import WorkflowQuery

from perdure.api.errors import Rejected, StatusCode
from perdure.core.names import ExecutionKey, QueueName
from perdure.engine.feed.news import News
from perdure.engine.matching.matching import POLLER_KNOWN_S, Matching
from perdure.engine.matching.others_rows import ignore
from perdure.engine.matching.queries import Queries
from perdure.engine.matching.query_task import QueryTask, QueryToken
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.wire import Wire

_SAYS_A_TERM = 3
"""How often a node says which queues are polled, in the time after which they are taken for forsaken."""
_TURN_S = 0.02
"""What a node that polls a queue has for taking a row, before the next one looks."""
_TURNS = 3
"""In the last one all the others look."""
_QUEUES_TOGETHER = 50
"""Names in one message."""
_KNOWN_MAX = 10_000
"""Questions of other nodes that are remembered."""


class _Polled(msgspec.Struct, array_like=True):
    """Queues that are polled at a node."""

    queues: list[QueueName]
    fed: list[QueueName]
    """Those of which it has enough to do."""


class _Question(msgspec.Struct, array_like=True):
    """A `QueryTask` on the wire, and the queue that it is for."""

    queue: QueueName
    key: ExecutionKey
    token: QueryToken
    query: bytes
    workflow_type: str
    task_queue: str
    previous_started_event_id: int
    last_event_id: int
    sticky: bool
    behind: tuple[int, int] = (0, 0)
    waits: bool = False
    """For the next workflow task; else it goes alone."""


class _Answer(msgspec.Struct, array_like=True):
    """What a worker said, or with a `code` why none was asked."""

    token: QueryToken
    result_type: int = 0
    answer: bytes = b""
    error_message: str = ""
    failure: bytes = b""
    code: int = 0
    key: ExecutionKey | None = None
    """The run that the answer is of, where the token does not say that the worker was asked about it."""


class Elsewhere:
    """See the module's text."""

    def __init__(
        self, wire: Wire, matching: Matching, queries: Queries, config: EngineConfig, metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._wire = wire
        self._matching = matching
        self._queries = queries
        self._term_s = config.polled_ns / 1e9
        self._polled: dict[QueueName, dict[str, float]] = {}
        """By node, the loop time at which it said so last."""
        self._lately: dict[QueueName, float] = {}
        """When some other node last said that it is polled there; loop time."""
        self._fed: dict[QueueName, set[str]] = {}
        """Nodes that have enough to do of a queue; of a queue that nobody polls there it may say nothing."""
        self.on_wanted: Callable[[QueueName], None] = ignore
        """Told of a queue of which another node has not enough to do any more."""
        self._away: dict[str, tuple[QueueName, QueryTask]] = {}
        """Questions that were put to another node, by query id."""
        self._spread: dict[str, set[str]] = {}
        """Nodes at which a question of this one waits for a workflow task, by query id."""
        self._known: OrderedDict[str, _Answer | None] = OrderedDict()
        """Questions of other nodes, and the answer once there is one."""
        self._timer: asyncio.TimerHandle | None = None
        wire.on("polled", self._hear_polled)
        wire.on("left", self._hear_left)
        wire.on("question", self._hear_question)
        wire.on("answer", self._hear_answer)
        wire.on("answered", self._hear_end)
        matching.polled_elsewhere = self.is_polled
        matching.queues_elsewhere = self._lately.keys
        matching.others.turn = self._turn
        matching.on_polled = matching.others.on_hungry = self._tell_polled
        matching.others.on_fed = self._tell_fed
        queries.elsewhere, queries.node = self, wire.node

    def start(self) -> None:
        """Say which queues are polled, from now on."""
        self._say()

    def stop(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> None:
        """Nobody polls here any more: this node stops."""
        self.stop()
        self._wire.tell("left", b"")

    # --- who polls where ------------------------------------------------------------------------

    def is_polled(self, queue: QueueName) -> bool:
        """Whether somebody polls it at another node."""
        return self._node_for(queue) is not None

    def is_wanted(self, queue: QueueName) -> bool:
        """Whether somebody polls it at another node who has not enough to do."""
        fed = self._fed.get(queue, ())
        return any(node not in fed for node in self._nodes_for(queue))

    def _node_for(self, queue: QueueName) -> str | None:
        return next(iter(self._nodes_for(queue)), None)

    def _nodes_for(self, queue: QueueName) -> Collection[str]:
        nodes = self._polled.get(queue)
        if nodes is None:
            return ()
        horizon = asyncio.get_running_loop().time() - self._term_s
        for node, at in list(nodes.items()):
            if at < horizon or not self._wire.hears(node):
                del nodes[node]
        if not nodes:
            del self._polled[queue]
        return nodes

    def _turn(self, queue: QueueName, news: News) -> float:
        """When this node looks for the rows that another one has written, and has told of because its own pollers have
        left them: first one of those that poll the queue, by a rule that all know, then the next, so that they do not
        race for each row."""
        nodes = self._nodes_for(queue)
        run_id = news.key.run_id
        mine = crc32(f"{self._wire.node}{run_id}".encode())
        others = sum(crc32(f"{node}{run_id}".encode()) > mine for node in nodes if node != news.origin)
        return _TURN_S * min(others, _TURNS - 1)

    def _say(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._term_s / _SAYS_A_TERM, self._say)
        polled = self._matching.polled_now()
        full = set(self._matching.others.fed(polled))
        for start in range(0, len(polled), _QUEUES_TOGETHER):
            some = polled[start : start + _QUEUES_TOGETHER]
            fed = [queue for queue in some if queue in full]
            self._wire.tell("polled", _encode(_Polled([queue for queue in some if queue not in full], fed)))
        for queue in list(self._polled):
            self._node_for(queue)
        horizon = asyncio.get_running_loop().time() - POLLER_KNOWN_S
        for queue in [queue for queue, at in self._lately.items() if at < horizon]:
            del self._lately[queue]
        for queue in self._fed.keys() - self._polled.keys():
            del self._fed[queue]
        self.put_again()

    def _tell_polled(self, queue: QueueName) -> None:
        """A queue is new here, or there is not enough to do: others may have work for it."""
        self._wire.tell("polled", _encode(_Polled([queue], [])))

    def _tell_fed(self, queue: QueueName) -> None:
        self._wire.tell("polled", _encode(_Polled([], [queue])))

    def _hear_polled(self, node: str, body: bytes) -> None:
        now = asyncio.get_running_loop().time()
        news: list[QueueName] = []
        polled = _decode_polled(body)
        for queue in polled.fed:
            self._fed.setdefault(queue, set()).add(node)
        for queue in polled.queues:
            fed = self._fed.get(queue)
            if node not in self._polled.get(queue, ()) or (fed is not None and node in fed):
                if fed is not None:
                    fed.discard(node)
                news.append(queue)
        for queue in (*polled.queues, *polled.fed):
            self._polled.setdefault(queue, {})[node] = self._lately[queue] = now
            for task in self._matching.take_volatile(queue):
                if isinstance(task, QueryTask) and not self.is_of_another(task.token):
                    self._queries.offer(queue, task)
                else:
                    self._matching.offer(queue, task)
        for queue in news:
            self.on_wanted(queue)

    def _hear_left(self, node: str, body: bytes) -> None:
        """A node that stops has sent its pollers away: questions that were put to it are put to others."""
        for nodes in self._polled.values():
            nodes.pop(node, None)
        self.put_again()

    # --- questions ------------------------------------------------------------------------------

    def put(self, queue: QueueName, task: QueryTask) -> bool:
        """Put a question to the node where somebody polls that queue. False: nobody does, or somebody does here."""
        if self._matching.is_polled(queue):
            return False
        node = self._node_for(queue)
        if node is None:
            return False
        self._away[task.token.query_id] = queue, task
        self._tell(node, queue, task, waits=False)
        return True

    def spread(self, queues: Sequence[QueueName], task: QueryTask) -> None:
        """A question waits for a workflow task, which will be on one of these queues: it does where they are polled."""
        nodes = {node for queue in queues for node in self._nodes_for(queue)}
        self._spread.setdefault(task.token.query_id, set()).update(nodes)
        for node in nodes:
            self._tell(node, queues[0], task, waits=True)

    def done(self, task: QueryTask) -> None:
        """Nobody waits for an answer of this node's question any more."""
        for node in self._spread.pop(task.token.query_id, ()):
            self._wire.tell("answered", _encode(task.token), node)

    def _tell(self, node: str, queue: QueueName, task: QueryTask, *, waits: bool) -> None:
        question = _Question(
            queue,
            task.key,
            task.token,
            task.query.SerializeToString(),
            task.workflow_type,
            task.task_queue,
            task.previous_started_event_id,
            task.last_event_id,
            task.sticky,
            task.behind,
            waits,
        )
        self._metrics.questions_elsewhere += 1
        self._wire.tell("question", _encode(question), node)

    def put_again(self) -> None:
        """What was put to another node and is not answered: it may have been lost, or the node is gone."""
        away, self._away = self._away, {}
        for queue, task in away.values():
            if task.is_wanted:
                self._queries.offer(queue, task)
        self._queries.spread_again()

    def _hear_question(self, node: str, body: bytes) -> None:
        question = _decode_question(body)
        query_id = question.token.query_id
        if not question.waits and self._queries.unhost(question.token):
            self._known.pop(query_id, None)  # it waited here, and goes alone now
        if query_id in self._known:
            answer = self._known[query_id]
            if answer is not None:
                self._wire.tell("answer", _encode(answer), question.token.node)
            return
        self._remember(query_id, None)
        task = QueryTask(
            question.key,
            question.token,
            WorkflowQuery.FromString(question.query),
            asyncio.get_running_loop().create_future(),
            question.workflow_type,
            question.task_queue,
            question.previous_started_event_id,
            question.last_event_id,
            question.sticky,
            question.behind,
        )
        task.future.add_done_callback(lambda future: self._failed(question.token, future))
        asyncio.get_running_loop().call_later(2 * self._term_s, task.future.cancel)
        if question.waits:
            self._queries.host(task)
        else:
            self._matching.offer(question.queue, task)

    def _hear_end(self, node: str, body: bytes) -> None:
        """A question that waits here is answered, or nobody waits for it."""
        self._queries.unhost(_decode_token(body))

    def _failed(self, token: QueryToken, future: asyncio.Future[Any]) -> None:
        """The question could not be brought to a worker: who asked is told."""
        error = None if future.cancelled() else future.exception()
        if isinstance(error, Rejected):
            self._tell_answer(_Answer(token, error_message=error.message, code=int(error.code)))
        elif future.cancelled() and self._known.get(token.query_id) is None:
            self._known.pop(token.query_id, None)  # should it be put again, it goes to whoever polls then

    def _remember(self, query_id: str, answer: _Answer | None) -> None:
        self._known[query_id] = answer
        self._known.move_to_end(query_id)
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)

    def answer(
        self,
        token: QueryToken,
        result_type: int,
        answer: Payloads,
        error_message: str,
        failure: Failure,
        key: ExecutionKey | None = None,
    ) -> None:
        """A worker has answered a question that another node asked; `key`: with a workflow task of this run."""
        said = _Answer(
            token, result_type, answer.SerializeToString(), error_message, failure.SerializeToString(), key=key
        )
        self._tell_answer(said)

    def is_of_another(self, token: QueryToken) -> bool:
        """Whether another node asked it."""
        return token.node not in ("", self._wire.node)

    def _tell_answer(self, answer: _Answer) -> None:
        self._remember(answer.token.query_id, answer)
        self._wire.tell("answer", _encode(answer), answer.token.node)

    def _hear_answer(self, node: str, body: bytes) -> None:
        said = _decode_answer(body)
        _, task = self._away.pop(said.token.query_id, (None, None))
        if said.code:
            if task is not None:
                task.fail(Rejected(StatusCode(said.code), said.error_message))
            return
        self._queries.settle(
            said.token,
            said.result_type,
            Payloads.FromString(said.answer),
            said.error_message,
            Failure.FromString(said.failure),
            said.key,
        )


_encode = msgspec.msgpack.Encoder().encode
_decode_polled = msgspec.msgpack.Decoder(_Polled).decode
_decode_question = msgspec.msgpack.Decoder(_Question).decode
_decode_token = msgspec.msgpack.Decoder(QueryToken).decode
_decode_answer = msgspec.msgpack.Decoder(_Answer).decode
