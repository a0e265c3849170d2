-- Insert or replace by name.
INSERT OR REPLACE INTO namespaces (name, id, retention_ns, description, details) VALUES (?1, ?2, ?3, ?4, ?5)
