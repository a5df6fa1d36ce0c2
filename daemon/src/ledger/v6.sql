-- The ledger, version 6: uploads that are resumed.

-- An upload that was begun and neither completed nor given up; noted before its first part is sent.
CREATE TABLE uploads (
    task        TEXT NOT NULL REFERENCES tasks (id),
    destination TEXT NOT NULL,
    key         TEXT NOT NULL,              -- of the object
    id          TEXT NOT NULL,              -- the destination's own name for the upload
    part_size   INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    PRIMARY KEY (task, destination, key)
) STRICT, WITHOUT ROWID;

-- Its parts that arrived.
CREATE TABLE upload_parts (
    task        TEXT NOT NULL,
    destination TEXT NOT NULL,
    key         TEXT NOT NULL,
    number      INTEGER NOT NULL,           -- from 1
    bytes       INTEGER NOT NULL,
    checksum    TEXT NOT NULL,              -- as the destination writes it
    etag        TEXT NOT NULL,
    PRIMARY KEY (task, destination, key, number),
    FOREIGN KEY (task, destination, key) REFERENCES uploads (task, destination, key) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Several destinations: the one on whose mount the task's spool lies. What is delivered there shares the spool's bytes.
ALTER TABLE tasks ADD COLUMN home TEXT;

-- Destinations that an operator gave to a task after its end; a row stays until everything is published there.
CREATE TABLE back_fills (
    task        TEXT NOT NULL REFERENCES tasks (id),
    destination TEXT NOT NULL,
    actor       TEXT NOT NULL,
    started_at  INTEGER NOT NULL,
    PRIMARY KEY (task, destination)
) STRICT, WITHOUT ROWID;
