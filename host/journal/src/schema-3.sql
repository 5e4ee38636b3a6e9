-- What passed between plugins and the outside: one row for each call. The text may be dropped when it is old; its
-- SHA-256 stays, and is in the run's chain of records, so that a tape that was changed is found.
CREATE TABLE tapes (
    run     TEXT    NOT NULL REFERENCES runs (run),
    -- Counts from 1 within the run.
    call    INTEGER NOT NULL CHECK (call > 0),
    at      INTEGER NOT NULL,
    sha256  BLOB    NOT NULL CHECK (length(sha256) = 32),
    body    TEXT,
    PRIMARY KEY (run, call)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER tapes_are_not_changed BEFORE UPDATE ON tapes
WHEN NEW.body IS NOT NULL OR NEW.run <> OLD.run OR NEW.call <> OLD.call OR NEW.at <> OLD.at OR NEW.sha256 <> OLD.sha256
BEGIN SELECT RAISE(ABORT, 'of a tape, only the text can be dropped'); END;

CREATE TRIGGER tapes_are_not_removed BEFORE DELETE ON tapes
BEGIN SELECT RAISE(ABORT, 'tapes are never removed'); END;

-- Calls that change something and have not come to their end, as far as they have come: written before each effect. What
-- is left here after a crash is played to the call that is made again.
CREATE TABLE open_calls (
    key   TEXT    NOT NULL PRIMARY KEY,
    run   TEXT    NOT NULL REFERENCES runs (run),
    at    INTEGER NOT NULL,
    head  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE open_exchanges (
    key     TEXT    NOT NULL REFERENCES open_calls (key) ON DELETE CASCADE,
    number  INTEGER NOT NULL CHECK (number > 0),
    ask     TEXT    NOT NULL,
    answer  TEXT,
    PRIMARY KEY (key, number)
) STRICT, WITHOUT ROWID;
