"""Stored histories of every release, and the code that must replay them for ever."""
