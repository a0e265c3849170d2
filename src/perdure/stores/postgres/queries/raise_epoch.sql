-- A writer begins, or begins again: what it sent before and is not over yet fails from now on.
INSERT INTO writers AS w (id, epoch, last_group, touched_at) VALUES ($1, 1, 0, now())
ON CONFLICT (id) DO UPDATE SET epoch = w.epoch + 1, touched_at = now()
RETURNING epoch, last_group, applied
