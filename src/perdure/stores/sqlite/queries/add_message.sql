-- A message waits to be delivered.
INSERT OR REPLACE INTO messages (position, id, data, checksum) VALUES (?, ?, ?, ?)
