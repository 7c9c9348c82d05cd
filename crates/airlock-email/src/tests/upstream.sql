-- A database as PRX-Email leaves it after its migrations, with mail in it.
PRAGMA journal_mode = WAL;
CREATE TABLE accounts (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, display_name TEXT,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE TABLE folders (id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    name TEXT NOT NULL, path TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    UNIQUE(account_id, path));
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    folder_id INTEGER REFERENCES folders(id) ON DELETE SET NULL,
    message_id TEXT NOT NULL, subject TEXT, sender TEXT, recipients TEXT, snippet TEXT, body_text TEXT,
    body_html TEXT, attachments_json TEXT, received_at INTEGER, created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, UNIQUE(account_id, message_id));
CREATE TABLE sync_state (id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    folder_id INTEGER NOT NULL REFERENCES folders(id) ON DELETE CASCADE,
    cursor TEXT, last_synced_at INTEGER, status TEXT, updated_at INTEGER NOT NULL,
    UNIQUE(account_id, folder_id));
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    to_recipients TEXT NOT NULL, subject TEXT NOT NULL, body_text TEXT NOT NULL,
    in_reply_to_message_id TEXT, provider_message_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('pending','sending','sent','failed')),
    retries INTEGER NOT NULL DEFAULT 0, last_error TEXT, next_attempt_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE TABLE feature_flags (key TEXT PRIMARY KEY, description TEXT,
    default_enabled INTEGER NOT NULL CHECK (default_enabled IN (0, 1)),
    risk_level TEXT NOT NULL CHECK (risk_level IN ('low','medium','high')), updated_at INTEGER NOT NULL);
CREATE TABLE account_feature_flags (
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    feature_key TEXT NOT NULL REFERENCES feature_flags(key) ON DELETE CASCADE,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)), updated_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, feature_key));
CREATE INDEX idx_folders_account_id ON folders(account_id);
CREATE INDEX idx_messages_account_id ON messages(account_id);
CREATE INDEX idx_messages_folder_id ON messages(folder_id);
CREATE INDEX idx_messages_subject ON messages(subject);
CREATE INDEX idx_messages_account_received ON messages(account_id, received_at DESC, id DESC);
CREATE INDEX idx_sync_state_account_folder ON sync_state(account_id, folder_id);
CREATE INDEX idx_outbox_account_id ON outbox(account_id);
CREATE INDEX idx_outbox_status_next_attempt ON outbox(status, next_attempt_at);
CREATE INDEX idx_account_feature_flags_account_id ON account_feature_flags(account_id);
INSERT INTO accounts VALUES (4, 'anna@x.example', 'Anna', 100, 100);
INSERT INTO folders VALUES (2, 4, 'INBOX', 'INBOX', 100, 100);
INSERT INTO messages VALUES (9, 4, 2, '<old@x.example>', 'an old one', 'bert@x.example', 'anna@x.example',
    'kept by', 'kept by another program', NULL, '[]', 200, 200, 200);
INSERT INTO sync_state VALUES (1, 4, 2, '41', 200, 'ok', 200);
INSERT INTO outbox VALUES (3, 4, 'bert@x.example', 'subject', 'text', NULL, NULL, 'failed', 2, 'no', 900, 300, 300);
INSERT INTO feature_flags VALUES ('inbox_read', 'theirs', 1, 'low', 50), ('email_send', 'theirs', 0, 'high', 50);
INSERT INTO account_feature_flags VALUES (4, 'email_send', 1, 60);
