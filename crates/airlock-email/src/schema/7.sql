-- The latest of a folder without a look at each message. The same as the message's own.
ALTER TABLE message_places ADD COLUMN received_at INTEGER;
UPDATE message_places SET received_at = (SELECT received_at FROM messages WHERE id = message_id);
CREATE INDEX message_places_latest ON message_places(folder_id, received_at DESC, message_id DESC);
CREATE TRIGGER message_places_received AFTER UPDATE OF received_at ON messages BEGIN
    UPDATE message_places SET received_at = new.received_at WHERE message_id = new.id;
END;
-- And of what PRX-Email keeps, which knows no places.
CREATE INDEX messages_folder_latest ON messages(account_id, folder_id, received_at DESC, id DESC);

-- The words anew. What is merged seldom is written seldom; a search reads some more lists.
DROP TRIGGER message_words_added;
DROP TRIGGER message_words_removed;
DROP TRIGGER message_words_changed;
DROP TABLE message_words;
CREATE VIRTUAL TABLE message_words USING fts5(
    subject, sender, recipients, body_text,
    content = 'messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
INSERT INTO message_words(message_words, rank) VALUES ('rank', 'bm25(10.0, 5.0, 3.0, 1.0)');
INSERT INTO message_words(message_words, rank) VALUES ('automerge', 16);
INSERT INTO message_words(message_words, rank) VALUES ('hashsize', 16777216);
INSERT INTO message_words(message_words) VALUES ('rebuild');
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

-- What a search filters by, without the bodies between.
CREATE TABLE message_facts (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    -- When it was sent or, where it does not say so, got.
    at INTEGER,
    is_attached INTEGER NOT NULL
) STRICT;
INSERT INTO message_facts (id, account_id, at, is_attached)
SELECT id, account_id, coalesce(sent_at, received_at), coalesce(attachments_json, '[]') <> '[]' FROM messages;
CREATE INDEX message_facts_at ON message_facts(account_id, at);
CREATE TRIGGER message_facts_added AFTER INSERT ON messages BEGIN
    INSERT INTO message_facts (id, account_id, at, is_attached)
    VALUES (new.id, new.account_id, coalesce(new.sent_at, new.received_at),
            coalesce(new.attachments_json, '[]') <> '[]');
END;
CREATE TRIGGER message_facts_removed AFTER DELETE ON messages BEGIN
    DELETE FROM message_facts WHERE id = old.id;
END;
CREATE TRIGGER message_facts_changed
AFTER UPDATE OF account_id, sent_at, received_at, attachments_json ON messages BEGIN
    UPDATE message_facts SET account_id = new.account_id, at = coalesce(new.sent_at, new.received_at),
        is_attached = coalesce(new.attachments_json, '[]') <> '[]' WHERE id = new.id;
END;
