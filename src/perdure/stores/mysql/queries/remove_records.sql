-- The records of a namespace that is to be forgotten.
DELETE FROM records WHERE namespace = %s
