-- The ledger, version 5: protection against pages that shift.

-- How a shift of the source's pages would have been noticed: whole, source, overlap, total, repeats or none.
ALTER TABLE task_streams ADD COLUMN shift_protection TEXT NOT NULL DEFAULT 'none';

-- What a lane read behind its last segment, where it is at its end: {"read", "duplicate", "filtered", "over_limit", "pages"}.
ALTER TABLE lanes ADD COLUMN tail TEXT;
