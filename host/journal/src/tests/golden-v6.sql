-- A journal of format 6. Never edited: what was written once stays readable.
PRAGMA foreign_keys = OFF;
PRAGMA application_id = 1111577410;
PRAGMA user_version = 6;
BEGIN TRANSACTION;
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
INSERT INTO "entries" VALUES('01golden-done',1,1700000000001,NULL,'phase.started','{"at":1700000000001}',X'B19A59969F694D554203A4797819BA5AC702EDCCB0B40ED8E43190DF00F01A5F');
INSERT INTO "entries" VALUES('01golden-done',2,1700000000002,'capture','service.promoted','{"at":1700000000002}',X'7624DD27E8828E3EE54BE6337A05E738BD01BD4A34CE7387CB82788661081F7F');
INSERT INTO "entries" VALUES('01golden-done',3,1700000000003,NULL,'note','{"text":"it''s 🧠"}',X'57702C66894A8C8037A5EE04CE88026C663597E98B51DCDA99C6150F7F4FCB76');
INSERT INTO "entries" VALUES('01golden-late',1,1700000030001,NULL,'phase.started','{"at":1700000030001}',X'649B91AB5C159EDCFC27656B7C9C73645F3306C9E877D625E6AA2F5FBB489313');
INSERT INTO "entries" VALUES('01golden-late',2,1700000030003,NULL,'note','{"at":1700000030003}',X'F94842A2C381768742FD57CE0FC408B13C5B4E32AD32E9E284B00BAE1AD9B398');
INSERT INTO "entries" VALUES('01golden-open',1,1700000020001,NULL,'phase.started','{"at":1700000020001}',X'C4C2924B3CF8F296C522204FF75A2AA31BEFFBDAF3B12908B29FC695203324C1');
CREATE TABLE leases (
    name         TEXT    NOT NULL PRIMARY KEY,
    token        INTEGER NOT NULL,
    owner        TEXT,
    acquired_at  INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
INSERT INTO "leases" VALUES('second-brain/local',2,'b',1700000005000,1700000006000);
CREATE TABLE open_calls (
    key   TEXT    NOT NULL PRIMARY KEY,
    run   TEXT    NOT NULL REFERENCES runs (run),
    at    INTEGER NOT NULL,
    head  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "open_calls" VALUES('01golden-open-capture-1','01golden-open',1700000020003,'{}');
CREATE TABLE open_exchanges (
    key     TEXT    NOT NULL REFERENCES open_calls (key) ON DELETE CASCADE,
    number  INTEGER NOT NULL CHECK (number > 0),
    ask     TEXT    NOT NULL,
    answer  TEXT,
    PRIMARY KEY (key, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "open_exchanges" VALUES('01golden-open-capture-1',1,'"a"','1');
INSERT INTO "open_exchanges" VALUES('01golden-open-capture-1',2,'"b"',NULL);
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
INSERT INTO "outbox" VALUES(1,'e1','daily-log','{}',1700000000000,0,NULL,1700000000000,1700000000010);
INSERT INTO "outbox" VALUES(2,'e2','daily-log','{}',1700000000000,1,'refused',1700000000011,NULL);
CREATE TABLE requests (
    ordinal  INTEGER PRIMARY KEY AUTOINCREMENT,
    run      TEXT    NOT NULL REFERENCES runs (run),
    at       INTEGER NOT NULL,
    verb     TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    taken    INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO "requests" VALUES(1,'01golden-open',1700000020002,'abort','{}',0);
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
    finish_hash  BLOB    CHECK (length(finish_hash) = 32), finish_seq INTEGER,
    CHECK ((finished_at IS NULL) = (outcome IS NULL)),
    CHECK ((finished_at IS NULL) = (result IS NULL)),
    CHECK ((finished_at IS NULL) = (finish_hash IS NULL))
) STRICT;
INSERT INTO "runs" VALUES('01golden-done','second-brain','local',1700000000000,'{"run":"01golden-done"}',X'08916926A9BFBF4925E4B09CC98289DB082C5CFA87A8AB5FE1012947B1F0D58E',3,X'57702C66894A8C8037A5EE04CE88026C663597E98B51DCDA99C6150F7F4FCB76',1700000009000,'done','{"services":1}',X'8640AF3D6BABDF12DD54FC830AB68F162793945016086AB18C593AA0823439DC',3);
INSERT INTO "runs" VALUES('01golden-open','second-brain','local',1700000020000,'{"run":"01golden-open"}',X'97515FC6E39DD0E7C5D4BD18E2D8062829F53DC147D6E0320806D00CE3208034',1,X'C4C2924B3CF8F296C522204FF75A2AA31BEFFBDAF3B12908B29FC695203324C1',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('01golden-late','second-brain','local',1700000030000,'{"run":"01golden-late"}',X'9CB6E7F27327B522218C172B07C2ACDDCB96C008B8C6D634E66199E80E601FD4',2,X'F94842A2C381768742FD57CE0FC408B13C5B4E32AD32E9E284B00BAE1AD9B398',1700000030002,'done','{}',X'36ADFFFD7F2070202508BC5DAB1353288D3A7DE15F499E57E072DE6A43F37F76',1);
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
INSERT INTO "stable_revisions" VALUES(1,'second-brain','local','capture','r1',2,'{"revision":"r1"}','01golden-done',1700000000000);
INSERT INTO "stable_revisions" VALUES(2,'second-brain','local','capture','r2',2,'{"revision":"r2"}','01golden-done',1700000000002);
CREATE TABLE tapes (
    run     TEXT    NOT NULL REFERENCES runs (run),
    -- Counts from 1 within the run.
    call    INTEGER NOT NULL CHECK (call > 0),
    at      INTEGER NOT NULL,
    sha256  BLOB    NOT NULL CHECK (length(sha256) = 32),
    body    TEXT,
    PRIMARY KEY (run, call)
) STRICT, WITHOUT ROWID;
INSERT INTO "tapes" VALUES('01golden-done',1,1700000040000,X'0707070707070707070707070707070707070707070707070707070707070707',NULL);
INSERT INTO "tapes" VALUES('01golden-done',2,1700000080000,X'0707070707070707070707070707070707070707070707070707070707070707','{"tape":2}');
CREATE INDEX runs_by_time ON runs (started_at);
CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'records are never changed'); END;
CREATE TRIGGER entries_are_not_removed BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'records are never removed'); END;
CREATE INDEX stable_revisions_by_service ON stable_revisions (deployment, environment, service, ordinal);
CREATE INDEX outbox_pending ON outbox (ordinal) WHERE delivered_at IS NULL AND due_at IS NOT NULL;
CREATE INDEX requests_waiting ON requests (run, ordinal) WHERE taken = 0;
CREATE TRIGGER tapes_are_not_changed BEFORE UPDATE ON tapes
WHEN NEW.body IS NOT NULL OR NEW.run <> OLD.run OR NEW.call <> OLD.call OR NEW.at <> OLD.at OR NEW.sha256 <> OLD.sha256
BEGIN SELECT RAISE(ABORT, 'of a tape, only the text can be dropped'); END;
CREATE TRIGGER tapes_are_not_removed BEFORE DELETE ON tapes
BEGIN SELECT RAISE(ABORT, 'tapes are never removed'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('stable_revisions',2);
INSERT INTO "sqlite_sequence" VALUES('outbox',2);
INSERT INTO "sqlite_sequence" VALUES('requests',1);
CREATE TABLE memory (
    deployment   TEXT    NOT NULL,
    environment  TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    text         TEXT    NOT NULL,
    PRIMARY KEY (deployment, environment, service)
) STRICT, WITHOUT ROWID;
INSERT INTO "memory" VALUES('second-brain','local','capture','r2 1 10000');
CREATE TABLE workloads (
    deployment   TEXT    NOT NULL,
    environment  TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    revision     TEXT    NOT NULL,
    digest       TEXT    NOT NULL,
    PRIMARY KEY (deployment, environment, service, revision)
) STRICT, WITHOUT ROWID;
INSERT INTO "workloads" VALUES('second-brain','local','capture','r2','sha256:00');
CREATE TABLE imported (
    run          TEXT    NOT NULL PRIMARY KEY REFERENCES runs (run)
) STRICT, WITHOUT ROWID;
INSERT INTO "imported" VALUES('01golden-late');
COMMIT;
