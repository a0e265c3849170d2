"""`Engine`: the whole of perdure inside your process.

    with Engine("sqlite:///orders.db") as engine:            # or: async with Engine(...) as engine
        engine.run(fulfill_order, order, id="order-1001")

The one package that joins what else never meets: store, engine, frontend, worker and client. All of
it is asyncio on one event loop, `AsyncEngine`; `Engine` runs that loop in a thread of its own and
bridges every method, so there is one implementation and not two. For a server elsewhere its parts
stand by themselves: `Client` and `Worker`, which block, and `AsyncWorker`; `AsyncClient` is the SDK's.

What is started survives this process. When it is opened again, whatever its workers had in
their hands is handed out again at once, for they are known to be dead.
"""

from perdure.embedded.asynchronous import AsyncEngine
from perdure.embedded.blocking import Engine
from perdure.embedded.client import Client
from perdure.embedded.handles import UpdateHandle, WorkflowHandle
from perdure.embedded.settings import EngineSeams, seamed
from perdure.embedded.workers import AsyncWorker, Worker

__all__ = [
    "AsyncEngine",
    "AsyncWorker",
    "Client",
    "Engine",
    "EngineSeams",
    "UpdateHandle",
    "Worker",
    "WorkflowHandle",
    "seamed",
]
