-- Insert or replace by name.
INSERT OR REPLACE INTO namespaces (name, id, retention_days, description) VALUES (?1, ?2, ?3, ?4)
