-- The ledger, version 1. Never edited after a release: a change is a new file in ledger/schema.rs.
--
-- Times are microseconds since 1970-01-01 UTC; offsets, schemas and parameters are JSON. The tables are the daemon's
-- own and may change with any version; reports read the views at the end, whose columns stay.

-- Every start of the daemon.
CREATE TABLE instances (
    id         TEXT PRIMARY KEY,            -- random, of one start
    boot_id    TEXT NOT NULL,               -- of the machine's boot
    pid        INTEGER NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    seq            INTEGER PRIMARY KEY,     -- order of creation, whatever the clock did
    id             TEXT NOT NULL UNIQUE,
    export         TEXT NOT NULL,
    key            TEXT NOT NULL,           -- hash of export, parameters and format
    state          TEXT NOT NULL,
    queue_pos      INTEGER NOT NULL,        -- smaller is earlier
    attempt        INTEGER NOT NULL DEFAULT 0,
    extracted      INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL,
    started_at     INTEGER,
    ended_at       INTEGER,
    not_before     INTEGER,
    instance       TEXT REFERENCES instances (id),
    format         TEXT NOT NULL,
    actor          TEXT NOT NULL,
    reason         TEXT NOT NULL DEFAULT '',
    error_class    TEXT,
    waiting_reason TEXT,
    waiting_until  INTEGER,
    params         TEXT NOT NULL,
    config         TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_by_export ON tasks (export, seq);
CREATE INDEX tasks_by_state ON tasks (state, seq);
CREATE INDEX tasks_by_export_state ON tasks (export, state, seq);
CREATE INDEX tasks_by_queue ON tasks (queue_pos);
-- A request whose key is open returns that task; a closed one never blocks.
CREATE UNIQUE INDEX tasks_open_key ON tasks (key) WHERE state IN ('pending', 'processing', 'paused');

-- Versions of a stream's schema, from 1, without gaps.
CREATE TABLE schemas (
    export     TEXT NOT NULL,
    stream     TEXT NOT NULL,
    version    INTEGER NOT NULL,
    schema     TEXT NOT NULL,
    task       TEXT NOT NULL REFERENCES tasks (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (export, stream, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE task_streams (
    task           TEXT NOT NULL REFERENCES tasks (id),
    stream         TEXT NOT NULL,
    pos            INTEGER NOT NULL,        -- order in the task
    fingerprint    TEXT,                    -- of path, paginator, key and cursor field
    schema         TEXT,
    schema_version INTEGER NOT NULL DEFAULT 0,
    observed       TEXT,                    -- types seen beside the schema
    read           INTEGER NOT NULL DEFAULT 0,
    written        INTEGER NOT NULL DEFAULT 0,
    rejected       INTEGER NOT NULL DEFAULT 0,
    duplicate      INTEGER NOT NULL DEFAULT 0,
    filtered       INTEGER NOT NULL DEFAULT 0,
    over_limit     INTEGER NOT NULL DEFAULT 0,
    rescued        INTEGER NOT NULL DEFAULT 0,
    pages          INTEGER NOT NULL DEFAULT 0,
    source_bytes   INTEGER NOT NULL DEFAULT 0,
    bytes          INTEGER NOT NULL DEFAULT 0,
    segments       INTEGER NOT NULL DEFAULT 0,
    total          INTEGER,
    extracted      INTEGER NOT NULL DEFAULT 0,
    error          TEXT,
    notes          TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (task, stream)
) STRICT, WITHOUT ROWID;

CREATE TABLE partitions (
    task   TEXT NOT NULL,
    stream TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    "values" TEXT NOT NULL,
    PRIMARY KEY (task, stream, idx),
    FOREIGN KEY (task, stream) REFERENCES task_streams (task, stream)
) STRICT, WITHOUT ROWID;

CREATE TABLE lanes (
    task     TEXT NOT NULL,
    stream   TEXT NOT NULL,
    lane     INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    start    TEXT NOT NULL,
    "offset" TEXT NOT NULL,
    next_n   INTEGER NOT NULL DEFAULT 0,
    done     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (task, stream, lane),
    FOREIGN KEY (task, stream) REFERENCES task_streams (task, stream)
) STRICT, WITHOUT ROWID;

-- Where an open segment must end for another reason than its size; written before its footer.
CREATE TABLE cuts (
    task       TEXT NOT NULL,
    stream     TEXT NOT NULL,
    lane       INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    "offset"   TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (task, stream, lane, n, revision),
    FOREIGN KEY (task, stream, lane) REFERENCES lanes (task, stream, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE segments (
    task         TEXT NOT NULL,
    stream       TEXT NOT NULL,
    lane         INTEGER NOT NULL,
    n            INTEGER NOT NULL,
    revision     INTEGER NOT NULL,
    name         TEXT NOT NULL,
    bytes        INTEGER NOT NULL,
    sha256       TEXT NOT NULL,             -- of the file as delivered
    plain_sha256 TEXT,                      -- of the file before encryption, where it is encrypted
    crc32c       INTEGER NOT NULL,
    read         INTEGER NOT NULL,
    written      INTEGER NOT NULL,
    rejected     INTEGER NOT NULL,
    duplicate    INTEGER NOT NULL,
    filtered     INTEGER NOT NULL,
    over_limit   INTEGER NOT NULL,
    rescued      INTEGER NOT NULL,
    pages        INTEGER NOT NULL,
    source_bytes INTEGER NOT NULL,
    cut          TEXT NOT NULL,
    first        TEXT NOT NULL,
    last         TEXT NOT NULL,
    superseded   INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (task, stream, lane, n, revision),
    FOREIGN KEY (task, stream, lane) REFERENCES lanes (task, stream, lane)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX segments_by_name ON segments (task, stream, name);

CREATE TABLE deliveries (
    task        TEXT NOT NULL,
    stream      TEXT NOT NULL,
    lane        INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    destination TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    error       TEXT,
    verified_at INTEGER,
    PRIMARY KEY (task, stream, lane, n, revision, destination),
    FOREIGN KEY (task, stream, lane, n, revision) REFERENCES segments (task, stream, lane, n, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_pending ON deliveries (task, destination) WHERE verified_at IS NULL;

-- The place of a task's stream in its chain: a full task starts one at position 0.
CREATE TABLE chain_links (
    task         TEXT NOT NULL,
    stream       TEXT NOT NULL,
    export       TEXT NOT NULL,
    chain        TEXT NOT NULL,             -- id of the full task that started the chain
    position     INTEGER NOT NULL,
    mode         TEXT NOT NULL,             -- full or incremental
    primary_key  TEXT NOT NULL,
    cursor_field TEXT,
    mark_before  TEXT,
    mark_after   TEXT,
    PRIMARY KEY (task, stream),
    UNIQUE (chain, stream, position),
    FOREIGN KEY (task, stream) REFERENCES task_streams (task, stream)
) STRICT, WITHOUT ROWID;

-- Where the next incremental task of a stream starts.
CREATE TABLE marks (
    export      TEXT NOT NULL,
    stream      TEXT NOT NULL,
    mark        TEXT NOT NULL,
    fingerprint TEXT,
    task        TEXT NOT NULL REFERENCES tasks (id),
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (export, stream)
) STRICT, WITHOUT ROWID;

-- The bytes of a manifest are composed once and stored before they are sent.
CREATE TABLE manifests (
    task         TEXT NOT NULL,
    stream       TEXT NOT NULL,
    destination  TEXT NOT NULL,
    bytes        BLOB NOT NULL,
    sha256       TEXT NOT NULL,
    composed_at  INTEGER NOT NULL,
    published_at INTEGER,
    PRIMARY KEY (task, stream, destination),
    FOREIGN KEY (task, stream) REFERENCES task_streams (task, stream)
) STRICT;

-- Exports that an operator paused.
CREATE TABLE paused_exports (
    export TEXT PRIMARY KEY,
    actor  TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Answers to requests with an idempotency key; the newest 10,000 of the last 24 hours.
CREATE TABLE answers (
    seq         INTEGER PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    answer      TEXT NOT NULL,
    at          INTEGER NOT NULL
) STRICT;

-- Who did what, and every transition. Each row's hash covers the row and the hash before it.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    task       TEXT,
    export     TEXT,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    from_state TEXT,
    to_state   TEXT,
    reason     TEXT NOT NULL,
    detail     TEXT,
    hash       TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_task ON audit (task, seq) WHERE task IS NOT NULL;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;

-- Views for reporting by plain SQL. Times are UTC text, `YYYY-MM-DDTHH:MM:SS.sssZ`.

-- One row per task: what was asked, where it stands, what it has read and written so far.
--   task, export, format, params (JSON), actor, state, reason, error_class, waiting (why it does not move), attempt,
--   created_at, started_at, ended_at, seconds (from start to end, or null), streams, records_read, records_written,
--   records_rejected, records_duplicate, records_filtered, records_over_limit, values_rescued, pages, source_bytes,
--   bytes (of its segments), segments, extracted (1: only delivery is left or done)
CREATE VIEW v_tasks AS
SELECT t.id AS task, t.export, t.format, t.params, t.actor, t.state, t.reason, t.error_class,
       t.waiting_reason AS waiting, t.attempt,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.created_at / 1e6, 'unixepoch') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.started_at / 1e6, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.ended_at / 1e6, 'unixepoch') AS ended_at,
       (t.ended_at - t.started_at) / 1e6 AS seconds,
       count(s.stream) AS streams,
       coalesce(sum(s.read), 0) AS records_read,
       coalesce(sum(s.written), 0) AS records_written,
       coalesce(sum(s.rejected), 0) AS records_rejected,
       coalesce(sum(s.duplicate), 0) AS records_duplicate,
       coalesce(sum(s.filtered), 0) AS records_filtered,
       coalesce(sum(s.over_limit), 0) AS records_over_limit,
       coalesce(sum(s.rescued), 0) AS values_rescued,
       coalesce(sum(s.pages), 0) AS pages,
       coalesce(sum(s.source_bytes), 0) AS source_bytes,
       coalesce(sum(s.bytes), 0) AS bytes,
       coalesce(sum(s.segments), 0) AS segments,
       t.extracted
FROM tasks t LEFT JOIN task_streams s ON s.task = t.id
GROUP BY t.seq;

-- One row per segment and destination; superseded segments are in no manifest.
--   task, export, stream, lane, n, revision, name, records, bytes, sha256, crc32c (8 hex digits), pages, source_bytes,
--   cut (why it ended), first_offset, last_offset (JSON), superseded (0 or 1), created_at, destination,
--   verified_at (null: not yet there), delivery_attempts, delivery_error
CREATE VIEW v_segments AS
SELECT g.task, t.export, g.stream, g.lane, g.n, g.revision, g.name, g.written AS records, g.bytes, g.sha256,
       printf('%08x', g.crc32c) AS crc32c, g.pages, g.source_bytes, g.cut, g.first AS first_offset,
       g.last AS last_offset, g.superseded,
       strftime('%Y-%m-%dT%H:%M:%fZ', g.created_at / 1e6, 'unixepoch') AS created_at,
       d.destination,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.verified_at / 1e6, 'unixepoch') AS verified_at,
       d.attempts AS delivery_attempts, d.error AS delivery_error
FROM segments g
JOIN tasks t ON t.id = g.task
LEFT JOIN deliveries d
  ON d.task = g.task AND d.stream = g.stream AND d.lane = g.lane AND d.n = g.n AND d.revision = g.revision;

-- The audit in order.
--   seq, at, task, export, actor, action, from_state, to_state, reason, detail (JSON), hash
CREATE VIEW v_audit AS
SELECT seq, strftime('%Y-%m-%dT%H:%M:%fZ', at / 1e6, 'unixepoch') AS at, task, export, actor, action, from_state,
       to_state, reason, detail, hash
FROM audit;
