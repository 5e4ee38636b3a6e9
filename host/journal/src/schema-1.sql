-- Times are milliseconds since the Unix epoch, UTC. Bodies, workloads and payloads are JSON that belongs to the engine.

CREATE TABLE runs (
    run          TEXT    NOT NULL PRIMARY KEY,
    deployment   TEXT    NOT NULL,
    environment  TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    body         TEXT    NOT NULL,
    -- The hash of the start: the root of the chain.
    root         BLOB    NOT NULL CHECK (length(root) = 32),
    -- The end of the chain; without it a lost tail would not be noticed.
    head_seq     INTEGER NOT NULL,
    head_hash    BLOB    NOT NULL CHECK (length(head_hash) = 32),
    finished_at  INTEGER,
    outcome      TEXT,
    result       TEXT,
    finish_hash  BLOB    CHECK (length(finish_hash) = 32),
    CHECK ((finished_at IS NULL) = (outcome IS NULL)),
    CHECK ((finished_at IS NULL) = (result IS NULL)),
    CHECK ((finished_at IS NULL) = (finish_hash IS NULL))
) STRICT;

CREATE INDEX runs_by_time ON runs (started_at);

CREATE TABLE entries (
    run      TEXT    NOT NULL REFERENCES runs (run),
    seq      INTEGER NOT NULL CHECK (seq > 0),
    at       INTEGER NOT NULL,
    service  TEXT,
    kind     TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    hash     BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'records are never changed'); END;

CREATE TRIGGER entries_are_not_removed BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'records are never removed'); END;

CREATE TABLE stable_revisions (
    ordinal      INTEGER PRIMARY KEY AUTOINCREMENT,
    deployment   TEXT    NOT NULL,
    environment  TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    revision     TEXT    NOT NULL,
    replicas     INTEGER NOT NULL,
    workload     TEXT    NOT NULL,
    run          TEXT    NOT NULL REFERENCES runs (run),
    at           INTEGER NOT NULL
) STRICT;

CREATE INDEX stable_revisions_by_service ON stable_revisions (deployment, environment, service, ordinal);

CREATE TABLE outbox (
    ordinal       INTEGER PRIMARY KEY AUTOINCREMENT,
    event_key     TEXT    NOT NULL,
    notifier      TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    last_error    TEXT,
    -- No sooner than this; empty when it will not be tried again.
    due_at        INTEGER,
    delivered_at  INTEGER,
    UNIQUE (event_key, notifier)
) STRICT;

CREATE INDEX outbox_pending ON outbox (ordinal) WHERE delivered_at IS NULL AND due_at IS NOT NULL;

-- A released lease keeps its row: its token must never be given out again.
CREATE TABLE leases (
    name         TEXT    NOT NULL PRIMARY KEY,
    token        INTEGER NOT NULL,
    owner        TEXT,
    acquired_at  INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE requests (
    ordinal  INTEGER PRIMARY KEY AUTOINCREMENT,
    run      TEXT    NOT NULL REFERENCES runs (run),
    at       INTEGER NOT NULL,
    verb     TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    taken    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX requests_waiting ON requests (run, ordinal) WHERE taken = 0;
