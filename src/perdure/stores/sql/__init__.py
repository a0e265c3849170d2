"""What the stores on SQL databases have in common.

`options.py` reads what their URLs say alike, `filters.py` compiles a list filter to SQL, `dialects.py` says in what the
databases differ there; `plan.py` makes rows of a group of commits, `waiting.py` waits for a database that is not there,
and `reach.py` finds out whether it answers at all.
"""
