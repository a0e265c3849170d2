"""The shell: every service alone, then all of them together, on virtual time."""
