"""What one engine has of its own: its settings, its clock and ids, what it counts, how it paces and batches work."""
