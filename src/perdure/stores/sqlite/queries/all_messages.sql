-- Every message, to check it.
SELECT position, id, data, checksum FROM messages
