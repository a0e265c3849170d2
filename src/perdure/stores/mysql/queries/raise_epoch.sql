-- A writer begins, or begins again: what it sent before and is not over yet fails from now on.
INSERT INTO writers (id, epoch, last_group, last_position, applied) VALUES (%s, 1, 0, 0, '')
ON DUPLICATE KEY UPDATE epoch = epoch + 1
