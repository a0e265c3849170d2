"""Where commits become durable. `api` is the protocol, `memory` its model, the others are proved against it."""
