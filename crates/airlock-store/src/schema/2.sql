-- How much each plugin keeps, so that its quota is looked at without adding up.
CREATE TABLE kv_usage (
    plugin TEXT    PRIMARY KEY,
    bytes  INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT, WITHOUT ROWID;

INSERT INTO kv_usage (plugin, bytes)
    SELECT plugin, SUM(octet_length(key) + octet_length(value)) FROM kv GROUP BY plugin;

CREATE TRIGGER kv_inserted AFTER INSERT ON kv BEGIN
    INSERT INTO kv_usage (plugin, bytes)
        VALUES (new.plugin, octet_length(new.key) + octet_length(new.value))
        ON CONFLICT (plugin) DO UPDATE SET bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER kv_updated AFTER UPDATE OF value ON kv BEGIN
    UPDATE kv_usage SET bytes = bytes + octet_length(new.value) - octet_length(old.value)
        WHERE plugin = new.plugin;
END;

CREATE TRIGGER kv_deleted AFTER DELETE ON kv BEGIN
    UPDATE kv_usage SET bytes = bytes - octet_length(old.key) - octet_length(old.value)
        WHERE plugin = old.plugin;
END;
