"""The names of the wire: Temporal's public API messages, and small helpers on them.

The lowest layer. Everything above speaks `temporal.api` protobuf messages (from the `temporalio`
package, whose protobuf runtime is C), so that history, store, wire and SDK share one vocabulary
and no mapping layer exists.
"""
