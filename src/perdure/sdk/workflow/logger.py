"""`workflow.logger`."""

from __future__ import annotations

import logging
from _thread import get_ident
from collections.abc import MutableMapping
from typing import Any

from perdure.sdk.replay.running import running
from perdure.sdk.workflow.unsafe import Unsafe


class WorkflowLogger(logging.LoggerAdapter[logging.Logger]):
    """Says a line once: not again in replay. Adds which workflow it is from."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        machine = running.get(get_ident())
        if machine is not None and machine.replaying:
            return False
        return self.logger.isEnabledFor(level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            return
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        # A log handler may look at the clock and write files; that is not the workflow's doing.
        with Unsafe.unguarded():
            super().log(level, msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        machine = running.get(get_ident())
        if machine is None or machine.info is None:
            return msg, kwargs
        info = machine.info
        extra: dict[str, Any] = {
            "workflow_id": info.workflow_id,
            "run_id": info.run_id,
            "workflow_type": info.workflow_type,
        }
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return f"{msg} ({info.workflow_type} {info.workflow_id})", kwargs
