-- Writers of engines that have written nothing for a day; those that live begin again when they find out.
DELETE FROM writers WHERE last_position < (UNIX_TIMESTAMP() - 86400) * 1000000
