"""The engine behind a port: Temporal's public gRPC API, as its official clients speak it.

    rpcs       what there is: service descriptors beside the objects that serve them; knows no gRPC
    status     a refusal as clients expect it on the wire
    transport  gRPC: listens, starts calls fairly, answers them
    connection one client's HTTP/2 connection: joins the two below to its calls
    receiving  bytes in, events out: what a client may say when, without a socket
    sending    what is to be said, when the client's windows and its socket take it
    stream     one call on a connection
    headers, blocks   what a request's headers say and whether they may; the table by which they are packed
    frames     bytes of HTTP/2 that go out
    bounds     every bound: what one client may make us keep, and what all of them may
    health, reflection   gRPC's own services
    http       the side door: /healthz, /metrics
    exposition what is counted, as Prometheus reads it
    server     engine, transport and HTTP of one process: started together, drained together

Handlers stay what they are for an embedded engine: request in, response out. Only `transport` knows
that there is a wire.
"""
