-- The digest of what a revision runs, as its counterpart told when the revision was rolled out: what runs later is compared
-- with it. One row a revision, replaced as a whole.
CREATE TABLE workloads (
    deployment   TEXT    NOT NULL,
    environment  TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    revision     TEXT    NOT NULL,
    digest       TEXT    NOT NULL,
    PRIMARY KEY (deployment, environment, service, revision)
) STRICT, WITHOUT ROWID;
