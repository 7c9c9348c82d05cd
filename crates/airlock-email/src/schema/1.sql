-- The schema of PRX-Email's own database, so that one that it made is opened as it is and a new
-- one could be opened by it. `messages.references_header` is added by whoever runs this, since
-- SQLite cannot add a column only where it is missing.
CREATE TABLE IF NOT EXISTS accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL UNIQUE,
    display_name TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS folders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE(account_id, path)
);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    folder_id INTEGER REFERENCES folders(id) ON DELETE SET NULL,
    message_id TEXT NOT NULL,
    subject TEXT,
    sender TEXT,
    recipients TEXT,
    snippet TEXT,
    body_text TEXT,
    body_html TEXT,
    attachments_json TEXT,
    received_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE(account_id, message_id)
);
CREATE TABLE IF NOT EXISTS sync_state (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    folder_id INTEGER NOT NULL REFERENCES folders(id) ON DELETE CASCADE,
    cursor TEXT,
    last_synced_at INTEGER,
    status TEXT,
    updated_at INTEGER NOT NULL,
    UNIQUE(account_id, folder_id)
);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    to_recipients TEXT NOT NULL,
    subject TEXT NOT NULL,
    body_text TEXT NOT NULL,
    in_reply_to_message_id TEXT,
    provider_message_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('pending', 'sending', 'sent', 'failed')),
    retries INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    next_attempt_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS feature_flags (
    key TEXT PRIMARY KEY,
    description TEXT,
    default_enabled INTEGER NOT NULL CHECK (default_enabled IN (0, 1)),
    risk_level TEXT NOT NULL CHECK (risk_level IN ('low', 'medium', 'high')),
    updated_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS account_feature_flags (
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    feature_key TEXT NOT NULL REFERENCES feature_flags(key) ON DELETE CASCADE,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, feature_key)
);
CREATE INDEX IF NOT EXISTS idx_folders_account_id ON folders(account_id);
CREATE INDEX IF NOT EXISTS idx_messages_account_id ON messages(account_id);
CREATE INDEX IF NOT EXISTS idx_messages_folder_id ON messages(folder_id);
CREATE INDEX IF NOT EXISTS idx_messages_subject ON messages(subject);
CREATE INDEX IF NOT EXISTS idx_messages_account_received
    ON messages(account_id, received_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS idx_sync_state_account_folder ON sync_state(account_id, folder_id);
CREATE INDEX IF NOT EXISTS idx_outbox_account_id ON outbox(account_id);
CREATE INDEX IF NOT EXISTS idx_outbox_status_next_attempt ON outbox(status, next_attempt_at);
CREATE INDEX IF NOT EXISTS idx_account_feature_flags_account_id ON account_feature_flags(account_id);
INSERT OR IGNORE INTO feature_flags (key, description, default_enabled, risk_level, updated_at) VALUES
    ('inbox_read', 'list and get mail', 1, 'low', 0),
    ('inbox_search', 'search mail', 1, 'low', 0),
    ('email_send', 'send mail', 0, 'high', 0),
    ('email_reply', 'answer mail', 0, 'high', 0),
    ('outbox_retry', 'try again to send what failed', 0, 'high', 0);
