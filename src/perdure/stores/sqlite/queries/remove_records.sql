-- The records of a namespace go with it.
DELETE FROM records WHERE namespace = ?
