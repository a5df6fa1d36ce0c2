-- The ledger, version 9: history that is forgotten.

-- From then on the task is being removed with all its rows, in as many transactions as that takes; it is not retried.
ALTER TABLE tasks ADD COLUMN forgotten_at INTEGER;
CREATE INDEX tasks_forgotten ON tasks (seq) WHERE forgotten_at IS NOT NULL;

-- A schema outlives the task that first had it: as before, but for the reference.
CREATE TABLE schemas_of_streams (
    export     TEXT NOT NULL,
    stream     TEXT NOT NULL,
    version    INTEGER NOT NULL,
    schema     TEXT NOT NULL,
    task       TEXT NOT NULL,               -- may be forgotten by now
    created_at INTEGER NOT NULL,
    PRIMARY KEY (export, stream, version)
) STRICT, WITHOUT ROWID;
INSERT INTO schemas_of_streams SELECT export, stream, version, schema, task, created_at FROM schemas;
DROP TABLE schemas;
ALTER TABLE schemas_of_streams RENAME TO schemas;

-- What keeps a task: the streams that began from its mark, and newer starts of chains.
CREATE INDEX task_streams_by_mark ON task_streams (mark_task) WHERE mark_task IS NOT NULL;
CREATE INDEX chain_starts ON chain_links (export, stream, task) WHERE position = 0;

-- Where the audit begins: rows up to `seq` are removed, and the hash of the first one that stays covers `hash`. As seqs have no
-- gaps, `seq` is also the number of rows removed so far. `noted` is the row that says so.
CREATE TABLE audit_anchor (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    seq   INTEGER NOT NULL,
    hash  TEXT NOT NULL,
    noted INTEGER NOT NULL
) STRICT;
INSERT INTO audit_anchor VALUES (1, 0, '', 0);
CREATE TRIGGER audit_anchor_is_one BEFORE INSERT ON audit_anchor
BEGIN SELECT RAISE (ABORT, 'the audit has one beginning'); END;
CREATE TRIGGER audit_anchor_stays BEFORE DELETE ON audit_anchor
BEGIN SELECT RAISE (ABORT, 'the audit has one beginning'); END;
CREATE TRIGGER audit_anchor_goes_forward BEFORE UPDATE ON audit_anchor
WHEN NEW.seq <= OLD.seq OR NOT EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq AND hash = NEW.hash)
BEGIN SELECT RAISE (ABORT, 'the audit is cut from its start, at one of its rows'); END;
DROP TRIGGER audit_is_not_cut;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit WHEN OLD.seq > (SELECT seq FROM audit_anchor)
BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;
