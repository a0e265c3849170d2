"""perdure: durable execution in Python."""
