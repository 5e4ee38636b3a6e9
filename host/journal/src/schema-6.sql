-- Finished runs that were taken over from the file of another journal: nothing of them was ever deployed from here.
CREATE TABLE imported (
    run          TEXT    NOT NULL PRIMARY KEY REFERENCES runs (run)
) STRICT, WITHOUT ROWID;
