-- Installed plugins, every version that can be gone back to. Times are milliseconds since
-- 1970 in UTC, digests the SHA-256 in lower-case hex.
CREATE TABLE version (
    id            INTEGER PRIMARY KEY,
    plugin        TEXT    NOT NULL,
    -- Whether this is the one that is run.
    current       INTEGER NOT NULL CHECK (current IN (0, 1)),
    -- As the manifest has it.
    label         TEXT,
    source        TEXT    NOT NULL,
    -- The folder it is read from at every load, when it is under development.
    link          TEXT,
    entry         TEXT    NOT NULL,
    manifest_name TEXT,
    manifest      BLOB,
    -- What examining it told, as JSON.
    facts         TEXT    NOT NULL,
    installed_at  INTEGER NOT NULL,
    CHECK ((manifest IS NULL) = (manifest_name IS NULL))
) STRICT;
CREATE UNIQUE INDEX version_current ON version (plugin) WHERE current = 1;
CREATE INDEX version_plugin ON version (plugin, id);

-- The wasm files of a version.
CREATE TABLE file (
    version INTEGER NOT NULL REFERENCES version (id) ON DELETE CASCADE,
    path    TEXT    NOT NULL,
    digest  TEXT    NOT NULL,
    PRIMARY KEY (version, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_digest ON file (digest);

-- The words that current versions add to the command line, each of one plugin.
CREATE TABLE command (
    name    TEXT    PRIMARY KEY,
    version INTEGER NOT NULL REFERENCES version (id) ON DELETE CASCADE,
    path    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX command_version ON command (version);

-- That somebody decided over these bytes under this name.
CREATE TABLE approval (
    id     INTEGER PRIMARY KEY,
    plugin TEXT    NOT NULL,
    digest TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    UNIQUE (plugin, digest)
) STRICT;

-- What was decided. At most one of `until` and `session` is there.
CREATE TABLE decision (
    approval   INTEGER NOT NULL REFERENCES approval (id) ON DELETE CASCADE,
    capability TEXT    NOT NULL,
    allowed    INTEGER NOT NULL CHECK (allowed IN (0, 1)),
    at         INTEGER NOT NULL,
    by         TEXT    NOT NULL,
    until      INTEGER,
    session    TEXT,
    PRIMARY KEY (approval, capability),
    CHECK (until IS NULL OR session IS NULL)
) STRICT, WITHOUT ROWID;

-- What plugins keep.
CREATE TABLE kv (
    plugin TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened, each record with a hash over itself and the hash before it. Without an index
-- beside the key: every call writes a record, and few read them.
CREATE TABLE audit (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    plugin TEXT,
    kind   TEXT    NOT NULL,
    record TEXT    NOT NULL,
    hash   BLOB    NOT NULL
) STRICT;
