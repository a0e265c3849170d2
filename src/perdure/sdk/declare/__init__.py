"""Declarations: what a decorated function or class is, what it takes and gives, and how it is called."""
