-- The ledger, version 8: notifications.

-- What is to be sent, was sent or was given up. A row is written by the transaction that ends its task, and holds what is told:
-- no secret, no link. Rows that are settled go when newer ones come.
CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,        -- what receivers tell repetitions by: of task, end and recipient
    task       TEXT NOT NULL,
    export     TEXT NOT NULL,
    recipient  TEXT NOT NULL,               -- its name in the configuration
    event      TEXT NOT NULL,               -- the most telling of success, failure, first_failure, recovery
    facts      TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'waiting', -- then sent or given_up
    created_at INTEGER NOT NULL,
    since      INTEGER NOT NULL,            -- when it was first tried, or an operator last asked to try it again
    attempts   INTEGER NOT NULL DEFAULT 0,
    next_at    INTEGER NOT NULL,
    settled_at INTEGER,
    done       TEXT NOT NULL DEFAULT '{}',  -- addresses that are settled: accepted (null) or refused (why)
    error      TEXT                         -- of the last attempt
) STRICT;
CREATE INDEX outbox_waiting ON outbox (recipient, seq) WHERE state = 'waiting';

-- Recipients that a request for a task names, beside those of its export.
CREATE TABLE task_notify (
    task      TEXT NOT NULL,
    recipient TEXT NOT NULL,
    PRIMARY KEY (task, recipient)
) STRICT, WITHOUT ROWID;

-- How the newest task of each export ended that ended by itself: what tells a first failure and a recovery.
CREATE TABLE last_ends (
    export   TEXT PRIMARY KEY,
    task     TEXT NOT NULL,
    state    TEXT NOT NULL,
    ended_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO last_ends (export, task, state, ended_at)
SELECT export, id, state, max(ended_at) FROM tasks
WHERE state IN ('succeeded', 'failed') AND ended_at IS NOT NULL GROUP BY export;
