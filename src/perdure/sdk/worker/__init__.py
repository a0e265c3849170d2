"""The worker: pulls tasks, runs workflow code and activities, sends the outcome back."""

from perdure.sdk.worker.config import WorkerConfig
from perdure.sdk.worker.worker import Worker

__all__ = ["Worker", "WorkerConfig"]
