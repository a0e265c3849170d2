"""Ways to write workflows, built on the SDK's public names alone: nothing here could not be a user's own."""
