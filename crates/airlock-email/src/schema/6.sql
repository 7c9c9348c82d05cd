-- When the Message-ID of a message is looked for in the folders of its account: of one that is held as
-- uncertain, since it arrived where it is there; of one that is sent, since a copy is put there where it
-- is not. None where it is not looked for.
ALTER TABLE outbox ADD COLUMN look_at INTEGER;
UPDATE outbox SET look_at = updated_at WHERE held = 'uncertain';
CREATE INDEX outbox_look ON outbox(look_at) WHERE look_at IS NOT NULL;
INSERT OR IGNORE INTO feature_flags (key, description, default_enabled, risk_level, updated_at) VALUES
    ('save_sent', 'keep a copy of sent mail at the server', 1, 'low', 0);
