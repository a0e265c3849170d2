"""Ways to a server: the protocol that the SDK speaks over, and gRPC as one."""
