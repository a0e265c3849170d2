-- Insert or replace by name.
INSERT OR REPLACE INTO namespaces (name, id, retention_ns, description, details) VALUES (?, ?, ?, ?, ?)
