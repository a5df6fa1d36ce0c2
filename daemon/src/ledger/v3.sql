-- The ledger, version 3: partitions by the million, and of parents.

-- Partition lists that are whole: a list is stored in batches, and counts when it has its row here.
CREATE TABLE partition_lists (
    task   TEXT NOT NULL,
    stream TEXT NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (task, stream),
    FOREIGN KEY (task, stream) REFERENCES task_streams (task, stream)
) STRICT, WITHOUT ROWID;
INSERT INTO partition_lists SELECT task, stream, count(*) FROM partitions GROUP BY task, stream;

-- What children need of the records of a parent in the same task: taken with each segment, in its transaction, so that it
-- counts exactly as long as the segment does. The values are those of the segment's records in order, repeated ones once.
CREATE TABLE parent_values (
    task     TEXT NOT NULL,
    stream   TEXT NOT NULL,                 -- the parent
    lane     INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    "values" TEXT NOT NULL,
    PRIMARY KEY (task, stream, lane, n, revision),
    FOREIGN KEY (task, stream, lane, n, revision) REFERENCES segments (task, stream, lane, n, revision)
) STRICT, WITHOUT ROWID;

-- What children need of the records of a parent that is no stream of their task, in batches.
CREATE TABLE outside_values (
    task     TEXT NOT NULL REFERENCES tasks (id),
    stream   TEXT NOT NULL,                 -- the parent
    batch    INTEGER NOT NULL,
    "values" TEXT NOT NULL,
    PRIMARY KEY (task, stream, batch)
) STRICT, WITHOUT ROWID;
-- Those of them that were read to their end.
CREATE TABLE outside_parents (
    task    TEXT NOT NULL REFERENCES tasks (id),
    stream  TEXT NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (task, stream)
) STRICT, WITHOUT ROWID;
