-- A copy goes its own way from here.
UPDATE perdure_store SET lineage = lower(hex(randomblob(16)))
