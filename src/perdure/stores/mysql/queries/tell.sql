-- What the others are to hear.
INSERT INTO notices (sent_at, sender, channel, data) VALUES %s
