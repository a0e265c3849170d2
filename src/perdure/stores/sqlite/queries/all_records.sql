-- Every record, to check it.
SELECT kind, namespace, name, version, data, checksum FROM records
