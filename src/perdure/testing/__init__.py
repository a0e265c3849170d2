"""Testing aids: time that only moves when nothing else can."""

from perdure.testing.virtual_time import DeadlockError, VirtualClock, VirtualTimeLoop, abandon, run_virtual

__all__ = ["DeadlockError", "VirtualClock", "VirtualTimeLoop", "abandon", "run_virtual"]
