-- What the database keeps by heart of its tables: rows, bytes by key, and bytes of the other indexes together.
SELECT CAST(table_name AS BINARY), table_rows, data_length, index_length FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'
