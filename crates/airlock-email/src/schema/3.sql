-- A message as it is sent, with all that is attached to it: at each attempt the same bytes.
CREATE TABLE outbox_mail (
    outbox_id INTEGER PRIMARY KEY REFERENCES outbox(id) ON DELETE CASCADE,
    message_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    -- A JSON array of addresses.
    recipients TEXT NOT NULL,
    raw BLOB NOT NULL
) STRICT;
-- Why a failed one is not tried again by itself. Its `next_attempt_at` is never, so that
-- PRX-Email leaves it alone too.
ALTER TABLE outbox ADD COLUMN held TEXT CHECK (held IN ('dead', 'uncertain', 'cancelled'));
-- While one of this crate's processes sends it.
ALTER TABLE outbox ADD COLUMN claimed_at INTEGER;
-- Before the content is sent: from then on the server may have taken it.
ALTER TABLE outbox ADD COLUMN content_at INTEGER;
