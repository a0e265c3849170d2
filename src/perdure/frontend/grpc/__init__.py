"""gRPC as perdure's server speaks it: HTTP/2 without a library, one room from bytes to handlers.

transport  listens, starts calls fairly, answers them
connection one client's HTTP/2 connection: joins the two below to its calls
receiving  bytes in, events out: what a client may say when, without a socket
sending    what is to be said, when the client's windows and its socket take it
stream     one call on a connection
headers, blocks   what a request's headers say and whether they may; the table by which they are packed
frames     bytes of HTTP/2 that go out
entries    how many entries the maps of a message have, before it is decoded
status     a refusal as clients expect it on the wire
bounds     every bound: what one client may make us keep, and what all of them may
health, reflection   gRPC's own services
"""
