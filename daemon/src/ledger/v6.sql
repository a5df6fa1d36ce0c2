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

-- Retention. From `pruned_at` on, which is noted before the first object goes, a manifest is no longer offered; at `gone_at`
-- everything that it listed was gone from its destination.
ALTER TABLE manifests ADD COLUMN pruned_at INTEGER;
ALTER TABLE manifests ADD COLUMN pruned_by TEXT;            -- who
ALTER TABLE manifests ADD COLUMN pruned_why TEXT;
ALTER TABLE manifests ADD COLUMN gone_at INTEGER;
CREATE INDEX manifests_there ON manifests (task, stream) WHERE published_at IS NOT NULL AND gone_at IS NULL;
CREATE INDEX manifests_by_time ON manifests (published_at) WHERE published_at IS NOT NULL;
