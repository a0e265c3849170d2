"""What the stores on SQL databases have in common.

`filters.py` compiles a list filter to SQL, `dialects.py` says in what the databases differ there.
"""
