-- The ledger, version 4: limits of exports.

-- Which limit of its export ended the stream: max_rows or max_bytes; null where none did.
ALTER TABLE task_streams ADD COLUMN limited TEXT;
