"""Honest clients beside clients that do their worst: `python -m benchmarks.neighbours`.

A server for each attack; eight clients that start workflows, take their tasks and complete them; a client that asks
after its health; and, in a process of its own, one that does what the attack says. Nobody may notice:
no honest call fails, the health check is answered in time, and the server's memory stays where it was.
"""
