-- What a message says to answer: ids in angle brackets, separated by spaces.
ALTER TABLE messages ADD COLUMN in_reply_to TEXT;

-- Attachments of messages that are gone: their files are removed where no other message names them.
-- `*` is for all that there are, of whomever.
CREATE TABLE attachments_left (path TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
-- By triggers, so that what PRX-Email removes is found too.
CREATE TRIGGER attachments_left_removed AFTER DELETE ON messages
WHEN coalesce(old.attachments_json, '[]') <> '[]' AND json_valid(old.attachments_json) BEGIN
    INSERT OR IGNORE INTO attachments_left
    SELECT path FROM (SELECT CASE type WHEN 'object' THEN json_extract(value, '$.local_path') END AS path
                      FROM json_each(old.attachments_json)) WHERE typeof(path) = 'text';
END;
CREATE TRIGGER attachments_left_changed AFTER UPDATE OF attachments_json ON messages
WHEN coalesce(old.attachments_json, '[]') <> '[]' AND json_valid(old.attachments_json) BEGIN
    INSERT OR IGNORE INTO attachments_left
    SELECT path FROM (SELECT CASE type WHEN 'object' THEN json_extract(value, '$.local_path') END AS path
                      FROM json_each(old.attachments_json)) WHERE typeof(path) = 'text';
END;
