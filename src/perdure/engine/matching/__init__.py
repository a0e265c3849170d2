"""Pollers and work, brought together: tasks that are rows, and questions that are not."""
