-- What the application remembers.
CREATE TABLE memory (
    id        INTEGER PRIMARY KEY,
    name      TEXT    NOT NULL UNIQUE,
    plugin    TEXT    NOT NULL,
    text      TEXT    NOT NULL,
    category  TEXT    NOT NULL,
    stored_at INTEGER NOT NULL
) STRICT;

CREATE VIRTUAL TABLE memory_words USING fts5 (
    text, content = 'memory', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);

-- How much each plugin has stored, so that its bound is looked at without adding up.
CREATE TABLE memory_usage (
    plugin TEXT    PRIMARY KEY,
    bytes  INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT, WITHOUT ROWID;
