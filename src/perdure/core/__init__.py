"""The law: what may happen to a workflow execution, and what follows from it.

No clock, no randomness, no I/O, no asyncio. `decide` takes an execution, a command and a Context
(now, ids, waiting pollers) and returns a Commit; `evolve` folds one event into the state.
"""
