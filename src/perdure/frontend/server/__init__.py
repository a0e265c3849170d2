"""The engine behind a port: Temporal's public gRPC API, as its official clients speak it.

    rpcs       what there is: service descriptors beside the objects that serve them; knows no gRPC
    status     a refusal as clients expect it on the wire
    transport  gRPC: listens, starts calls fairly, answers them
    connection one client's HTTP/2 connection, with bounds on all that it can make us keep
    stream     one call on it
    bounds     what one client may make us keep
    frames, headers   bytes of HTTP/2, out and in
    health, reflection   gRPC's own services
    http       the side door: /healthz, /metrics
    exposition what is counted, as Prometheus reads it
    server     engine, transport and HTTP of one process: started together, drained together

Handlers stay what they are for an embedded engine: request in, response out. Only `transport` knows
that there is a wire.
"""
