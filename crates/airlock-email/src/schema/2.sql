-- Each account has servers of its own. Credentials are kept elsewhere.
CREATE TABLE account_settings (
    account_id INTEGER PRIMARY KEY REFERENCES accounts(id) ON DELETE CASCADE,
    -- What grants call it.
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE account_servers (
    account_id INTEGER NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
    protocol TEXT NOT NULL CHECK (protocol IN ('imap', 'smtp')),
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    security TEXT NOT NULL CHECK (security IN ('tls', 'starttls', 'plain')),
    user TEXT NOT NULL,
    auth TEXT NOT NULL CHECK (auth IN ('none', 'plain', 'login', 'xoauth2', 'oauthbearer')),
    PRIMARY KEY (account_id, protocol)
) STRICT, WITHOUT ROWID;

-- When the sender says to have sent it; `received_at` is when the server got it.
ALTER TABLE messages ADD COLUMN sent_at INTEGER;
ALTER TABLE messages ADD COLUMN cc TEXT;
ALTER TABLE messages ADD COLUMN reply_to TEXT;
-- SHA-256 of the message as it came: two messages may have one Message-ID.
ALTER TABLE messages ADD COLUMN digest TEXT;
ALTER TABLE messages ADD COLUMN header_message_id TEXT;
ALTER TABLE sync_state ADD COLUMN uid_validity INTEGER;

-- Where a message is on the server: in more than one folder, or twice in one.
CREATE TABLE message_places (
    folder_id INTEGER NOT NULL REFERENCES folders(id) ON DELETE CASCADE,
    uid INTEGER NOT NULL,
    message_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    flags TEXT NOT NULL,
    PRIMARY KEY (folder_id, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_places_message ON message_places(message_id);

CREATE INDEX messages_with_attachments ON messages(account_id, received_at DESC, id DESC)
    WHERE coalesce(attachments_json, '[]') <> '[]';

CREATE VIRTUAL TABLE message_words USING fts5(
    subject, sender, recipients, body_text,
    content = 'messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2',
    -- Beginnings of words would otherwise be read word by word.
    prefix = '2 3'
);
INSERT INTO message_words(message_words, rank) VALUES ('rank', 'bm25(10.0, 5.0, 3.0, 1.0)');
-- By triggers, so that what PRX-Email writes is found too.
CREATE TRIGGER message_words_added AFTER INSERT ON messages BEGIN
    INSERT INTO message_words(rowid, subject, sender, recipients, body_text)
    VALUES (new.id, new.subject, new.sender, new.recipients, new.body_text);
END;
CREATE TRIGGER message_words_removed AFTER DELETE ON messages BEGIN
    INSERT INTO message_words(message_words, rowid, subject, sender, recipients, body_text)
    VALUES ('delete', old.id, old.subject, old.sender, old.recipients, old.body_text);
END;
CREATE TRIGGER message_words_changed
AFTER UPDATE OF subject, sender, recipients, body_text ON messages BEGIN
    INSERT INTO message_words(message_words, rowid, subject, sender, recipients, body_text)
    VALUES ('delete', old.id, old.subject, old.sender, old.recipients, old.body_text);
    INSERT INTO message_words(rowid, subject, sender, recipients, body_text)
    VALUES (new.id, new.subject, new.sender, new.recipients, new.body_text);
END;
