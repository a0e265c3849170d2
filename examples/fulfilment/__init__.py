"""The order-fulfilment system: see README.md. `order.py` is the workflow, the rest is the world around it."""
