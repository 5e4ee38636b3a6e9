-- What a provider wants to be given back at its next call for a service: the counterpart's own names for things, say.
-- Text that belongs to the provider. One row a service, replaced as a whole.
CREATE TABLE memory (
    deployment   TEXT    NOT NULL,
    environment  TEXT    NOT NULL,
    service      TEXT    NOT NULL,
    text         TEXT    NOT NULL,
    PRIMARY KEY (deployment, environment, service)
) STRICT, WITHOUT ROWID;
