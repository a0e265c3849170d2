"""Cases of the battery, cut, doubled, spoiled and mixed: no exception, no harm to what is counted, whatever comes."""

from __future__ import annotations

import asyncio
import random

import pytest

from perdure.frontend.grpc import frames
from perdure.frontend.grpc.connection import Connection
from perdure.frontend.grpc.stream import Stream
from tests.server import battery_frames, battery_requests
from tests.server.battery import call, head, pseudo
from tests.server.test_hostile_clients import Socket

SEEDS = 40
CONNECTIONS = 25
PIECES = [case for case in (*battery_frames.CASES, *battery_requests.CASES) if len(case.send(3)) < 5_000]
REFLECTION = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


class Host:
    """Answers calls some time after they came, not all, and not in order; holds conversations that say nothing."""

    unsent = buffered = 0

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.held: list[Stream] = []

    def came(self, connection: Connection) -> bool:
        return True

    def went(self, connection: Connection) -> None:
        """Nobody misses it."""

    def opened(self, connection: Connection, stream: Stream) -> None:
        if stream.head.path == REFLECTION.decode():
            stream.inbox = asyncio.Queue()

    def ready(self, connection: Connection) -> None:
        while connection.ready:
            self.held.append(connection.ready.popleft())

    heard = ready

    def answer(self, connection: Connection) -> None:
        """Some of those that wait."""
        self._chance.shuffle(self.held)
        while self.held and self._chance.random() < 0.7:
            stream = self.held.pop()
            connection.release(stream)
            connection.respond(stream, self._chance.randbytes(self._chance.choice((0, 10, 100_000))))
        for stream in list(connection.streams.values()):
            if stream.inbox is not None and not stream.inbox.empty() and self._chance.random() < 0.5:
                message = stream.inbox.get_nowait()
                if message is None:
                    connection.finish(stream)
                else:
                    connection.taken(stream, (0, message[1]))
                    connection.send(stream, self._chance.randbytes(1_000))


def spoiled(data: bytes, chance: random.Random) -> bytes:
    """Some of it changed."""
    spoilt = bytearray(data)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 10))):
        if not spoilt:
            break
        at = chance.randrange(len(spoilt))
        match chance.randrange(4):
            case 0:
                spoilt[at] = chance.randrange(256)
            case 1:
                del spoilt[at : at + chance.randrange(20)]
            case 2:
                spoilt[at:at] = chance.randbytes(chance.randrange(12))
            case _:
                spoilt[at] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def said(chance: random.Random) -> bytes:
    """Something a client may say."""
    stream = 1 + 2 * chance.randrange(40)
    match chance.randrange(5):
        case 0:
            return call(stream)
        case 1:
            return head(stream, [*pseudo(REFLECTION), (b"content-type", b"application/grpc")])
        case 2:
            payload = chance.randbytes(chance.randrange(40))
            return frames.frame(chance.randrange(12), chance.randrange(256), stream, payload)
        case _:
            case = chance.choice(PIECES)
            return case.send(stream) + (case.then(stream) if case.then is not None else b"")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_noise_raises_nothing_and_leaves_nothing_behind(seed: int) -> None:
    async def scenario() -> None:
        chance = random.Random(seed)
        for _ in range(CONNECTIONS):
            host, socket = Host(chance), Socket()
            connection = Connection(host)
            connection.connection_made(socket)
            connection.data_received(frames.PREFACE + frames.settings({4: chance.choice((0, 10, 1 << 20))}))
            for _ in range(chance.randrange(1, 30)):
                if socket.is_closed:
                    break
                connection.data_received(spoiled(said(chance), chance))
                host.answer(connection)
                if chance.random() < 0.1:
                    await asyncio.sleep(0)
            kept = sum(stream.kept_bytes for stream in connection.streams.values())
            assert host.buffered == kept
            assert connection.unsent == host.unsent == sum(one.out_bytes for one in connection.streams.values())
            connection.connection_lost(None)
            assert (host.unsent, host.buffered, connection.unsent, connection.streams) == (0, 0, 0, {})

    asyncio.run(scenario())
