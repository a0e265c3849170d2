"""What became durable, told to whoever waits for it: readers of history, callers of updates, the log."""
