"""The `perdure` command: `main.py` and a file per noun."""
