"""Every bound of the server's wire: of one call, of one connection, of all of them, of the side door."""

from __future__ import annotations

# --- one call -------------------------------------------------------------------------------------

MESSAGE_BYTES_MAX = 4 << 20
"""Of a request, also when it is unpacked, as Temporal's server has it."""
STREAM_WINDOW = MESSAGE_BYTES_MAX + (64 << 10)
"""A whole request, so that no stream's window has to be renewed."""
HEADER_LIST_BYTES_MAX = 32 << 10
"""Of a call's headers, as RFC 9113 counts them (6.5.2): beyond it the call is refused."""
LIST_BYTES_READ_MAX = 4 * HEADER_LIST_BYTES_MAX
"""Of headers that are read to their end all the same, so that the connection can go on: beyond it, it ends."""
BLOCK_BYTES_MAX = 64 << 10
"""Of headers as they come, packed: beyond it the connection ends."""
UNREAD_BYTES_MAX = 64 << 10
"""Of a request that is no gRPC and is refused when it was said; one that goes on is refused before."""
INBOX_MAX = 100
"""Messages of a conversation that are not answered."""

# --- one connection -------------------------------------------------------------------------------

STREAMS_MAX = 10_000
"""Calls of one connection at a time: polls, mostly."""
RUNNING_MAX = 100
"""Calls of one connection that are worked on at a time; polls, which only wait, are not counted."""
GIVEN_UP_MAX = 64
"""Calls that were reset while they waited for their turn, and are still in the queue."""
BUFFERED_BYTES_MAX = 32 << 20
"""Of requests of one connection that are here but not worked on."""
UNSENT_BYTES_MAX = 4 << 20
"""Of answers: beyond it no further call of the connection is started."""
WRITTEN_BYTES_MAX = 8 << 20
"""What the socket may be behind: a client that asks and asks and reads nothing is cut off here."""
WRITE_HIGH = 256 << 10
PIECE_BYTES = 64 << 10
FRAME_SENT_MAX = 64 << 10
CONNECTION_WINDOW = 16 << 20
CREDIT_BYTES = 1 << 20
"""The connection's window is renewed when so much of it was used."""
WINDOW_CHANGES_MAX = 100
"""Of all streams at once, by SETTINGS, between two checks: each goes through all of them."""
BLOCKS_KNOWN_MAX = 1_000
BLOCK_KNOWN_BYTES_MAX = 256
"""A header block that is known by heart is short: the rest of a client's headers is in the table."""
SILENT_S = 60.0
"""A client that said nothing for so long is asked whether it is there; after as long again it is not."""
STUCK_S = 30.0
"""How long a client that is owed something may take nothing."""
GREETING_S = 15.0
"""How long a connection may say nothing at all."""
HANDSHAKE_S = 10.0
"""How long a client may take for that of TLS, before it counts as a connection."""

# --- all connections ------------------------------------------------------------------------------

CONNECTIONS_MAX = 10_000
BUFFERED_ALL_BYTES_MAX = 256 << 20
"""Of requests: beyond it, a connection with more than a whole request is cut off when it sends more."""
UNSENT_ALL_BYTES_MAX = 64 << 20
"""Of answers that wait for their clients: beyond it, those with many of them get no more."""
READ_BYTES = 1 << 20
"""What a read (of histories, lists, descriptions) is taken to answer, before its connection has had one such answer."""
STARTS_PER_TURN = 8
"""Calls that are started before other callbacks of the event loop get their turn: one at first, and twice as many after
each turn that was short."""
TURN_S = 0.005
"""A turn that is longer is not short: its calls did much, and the next ones may."""
CHECK_S = 10.0
"""Between two looks at who is silent, or stuck."""

# --- the side door --------------------------------------------------------------------------------

HTTP_HEAD_BYTES_MAX = 8 << 10
HTTP_CONNECTIONS_MAX = 256
"""Beyond it the one that has been here longest is put out: whoever asks at once is answered, whatever crowd waits."""
HTTP_BACKLOG = 64
"""Accepted in one go. So a newcomer has several rounds of the event loop to ask before it is the oldest."""
HTTP_REQUEST_S_MAX = 5.0
TELL_S = 1.0
"""The log says so often why calls were refused, when their clients are not told."""
