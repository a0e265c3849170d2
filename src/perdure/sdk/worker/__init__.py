"""The worker: pulls tasks, runs workflow code and activities, sends the outcome back."""

from perdure.sdk.worker.config import WorkerConfig
from perdure.sdk.worker.worker import QueueWorker

__all__ = ["QueueWorker", "WorkerConfig"]
