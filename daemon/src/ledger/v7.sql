-- The ledger, version 7: schedules.

-- How far the schedule of an export has been looked at: no slot (a time that it names) up to `slot` is looked at again, and
-- without one none up to `since`.
CREATE TABLE schedules (
    export      TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,              -- of the expression and its time zone
    since       INTEGER NOT NULL,           -- when it was first seen
    slot        INTEGER,                    -- the last one that was decided on
    decided_at  INTEGER,
    outcome     TEXT,                       -- run, open (a task of it was still open) or missed
    task        TEXT                        -- that it made, or that was still open
) STRICT, WITHOUT ROWID;
