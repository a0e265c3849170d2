"""What is kept by compare-and-set, has a deadline and is no execution: schedules and batch operations."""
