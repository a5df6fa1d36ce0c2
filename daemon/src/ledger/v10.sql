-- The ledger, version 10: a task that ended before a restore is not retried.
CREATE INDEX audit_restores ON audit (seq) WHERE action = 'ledger_restored';
