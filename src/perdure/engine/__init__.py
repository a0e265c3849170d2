"""The shell around the law: it gathers commands, lets core decide, makes commits durable, and delivers.

Nothing here knows what a workflow task means. What is here: a mailbox per workflow id, one
transaction for whatever is ready, pollers and backlog, deadlines, caches and their bounds.
"""

from perdure.engine.engine import Engine
from perdure.engine.node.clock import Clock, SystemClock
from perdure.engine.node.config import EngineConfig, NodeConfig
from perdure.engine.node.ids import TimeOrderedIds

__all__ = ["Clock", "Engine", "EngineConfig", "NodeConfig", "SystemClock", "TimeOrderedIds"]
