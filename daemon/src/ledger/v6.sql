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

-- What a segment's file is to readers: `file`, `part` (of the one file of its stream; it goes nowhere by itself) or `single`
-- (that one file; in lane 0, with a number behind those of all segments).
ALTER TABLE segments ADD COLUMN role TEXT NOT NULL DEFAULT 'file';

-- One row per segment and destination; superseded segments and parts are in no manifest.
--   as before, and role (file, part or single): the sums of a stream are those of all rows that are no part
DROP VIEW v_segments;
CREATE VIEW v_segments AS
SELECT g.task, t.export, g.stream, g.lane, g.n, g.revision, g.name, g.written AS records, g.bytes, g.sha256,
       printf('%08x', g.crc32c) AS crc32c, g.pages, g.source_bytes, g.cut, g.first AS first_offset,
       g.last AS last_offset, g.superseded,
       strftime('%Y-%m-%dT%H:%M:%fZ', g.created_at / 1e6, 'unixepoch') AS created_at,
       d.destination,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.verified_at / 1e6, 'unixepoch') AS verified_at,
       d.attempts AS delivery_attempts, d.error AS delivery_error, g.role
FROM segments g
JOIN tasks t ON t.id = g.task
LEFT JOIN deliveries d
  ON d.task = g.task AND d.stream = g.stream AND d.lane = g.lane AND d.n = g.n AND d.revision = g.revision;
-- What is encrypted in a segment's file (its digest is plain_sha256), and the signature that goes with a manifest's bytes.
ALTER TABLE segments ADD COLUMN plain_bytes INTEGER;
ALTER TABLE manifests ADD COLUMN signature BLOB;

-- Retention. From `pruned_at` on, which is noted before the first object goes, a manifest is no longer offered; at `gone_at`
-- everything that it listed was gone from its destination.
ALTER TABLE manifests ADD COLUMN pruned_at INTEGER;
ALTER TABLE manifests ADD COLUMN pruned_by TEXT;            -- who
ALTER TABLE manifests ADD COLUMN pruned_why TEXT;
ALTER TABLE manifests ADD COLUMN gone_at INTEGER;
CREATE INDEX manifests_there ON manifests (task, stream) WHERE published_at IS NOT NULL AND gone_at IS NULL;
CREATE INDEX manifests_by_time ON manifests (published_at) WHERE published_at IS NOT NULL;

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
