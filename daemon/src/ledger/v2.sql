-- The ledger, version 2: incremental tasks.

-- What of the export was asked for: {"full", "from", "to", "streams"}.
ALTER TABLE tasks ADD COLUMN scope TEXT NOT NULL DEFAULT '{}';
-- Whether the task's manifests belong to the chains that latest.json lists: it has no parameters and the export's format.
ALTER TABLE tasks ADD COLUMN chained INTEGER NOT NULL DEFAULT 1;
UPDATE tasks SET chained = params = '{}';

-- Whether the stream is incremental, and how it is read in this task; null before it is begun.
ALTER TABLE task_streams ADD COLUMN follows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task_streams ADD COLUMN mode TEXT;              -- full or incremental
ALTER TABLE task_streams ADD COLUMN mark_before TEXT;       -- JSON; where it starts
ALTER TABLE task_streams ADD COLUMN mark_task TEXT;         -- the task that set that mark, whose boundary counts
ALTER TABLE task_streams ADD COLUMN mark_after TEXT;        -- JSON; where the next one starts

-- The largest cursor value in the segment, as JSON.
ALTER TABLE segments ADD COLUMN mark TEXT;

-- The newest records of a task's stream: what the next task may be given once more.
CREATE TABLE boundary (
    task     TEXT NOT NULL,
    stream   TEXT NOT NULL,
    lane     INTEGER,                       -- the segment that holds it; null: handed down by the task before
    n        INTEGER,
    revision INTEGER,
    cursor   BLOB NOT NULL,                 -- bytes in the order of the values
    record   BLOB NOT NULL,                 -- digests of primary key and record, 16 bytes each
    FOREIGN KEY (task, stream) REFERENCES task_streams (task, stream)
) STRICT;
CREATE INDEX boundary_by_stream ON boundary (task, stream, cursor);

-- Where the next incremental task of each stream starts.
--   export, stream, kind (number, instant or text), mark, task (whose end set it), updated_at
CREATE VIEW v_marks AS
SELECT export, stream, mark ->> 'kind' AS kind, mark ->> 'value' AS mark, task,
       strftime('%Y-%m-%dT%H:%M:%fZ', updated_at / 1e6, 'unixepoch') AS updated_at
FROM marks;
