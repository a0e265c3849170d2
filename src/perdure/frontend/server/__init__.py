"""The engine behind a port: Temporal's public gRPC API, as its official clients speak it.

    server     engine, transport and HTTP of one process: started together, drained together
    settings   what an operator may say

Handlers stay what they are for an embedded engine: request in, response out. Only `frontend.grpc` knows
that there is a wire.
"""
