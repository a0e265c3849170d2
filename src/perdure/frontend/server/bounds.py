"""What one client may make the server keep, and what all of them may."""

from __future__ import annotations

from perdure.frontend.server.stream import MESSAGE_BYTES_MAX

STREAMS_MAX = 10_000
"""Calls of one connection at a time: polls, mostly."""
BLOCK_BYTES_MAX = 64 << 10
"""Of a header block that comes in pieces."""
BUFFERED_BYTES_MAX = 32 << 20
"""Of requests of one connection that are here but not worked on."""
BUFFERED_ALL_BYTES_MAX = 256 << 20
"""Over all connections: beyond it, one with more than a whole request is cut off when it sends more."""
UNSENT_BYTES_MAX = 4 << 20
"""Of answers: beyond it no further call of the connection is started."""
WRITTEN_BYTES_MAX = 8 << 20
"""What the socket may be behind: a client that asks and asks and reads nothing is cut off here."""
WRITE_HIGH = 256 << 10
PIECE_BYTES = 64 << 10
STREAM_WINDOW = MESSAGE_BYTES_MAX + (64 << 10)
"""A whole request, so that no stream's window has to be renewed."""
WINDOW_CHANGES_MAX = 100
"""Of all streams at once, by SETTINGS, between two checks: each goes through all of them."""
CONNECTION_WINDOW = 16 << 20
CREDIT_BYTES = 1 << 20
"""The connection's window is renewed when so much of it was used."""
INBOX_MAX = 100
GIVEN_UP_MAX = 64
"""Calls that were reset while they waited for their turn, and are still in the queue."""
FRAME_SENT_MAX = 64 << 10
