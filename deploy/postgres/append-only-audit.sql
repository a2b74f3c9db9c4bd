-- Audit events are added and sealed, and never changed or dropped, whatever becomes of ASB's own role. Run once as asb_owner, after the
-- first migration. Whoever owns the tables can still do both: against that there are signed checkpoints, kept elsewhere.
REVOKE UPDATE, DELETE ON audit_events FROM asb;
GRANT UPDATE (chain_seq, chain_hash) ON audit_events TO asb;
REVOKE UPDATE, DELETE ON audit_checkpoints FROM asb;
REVOKE DELETE ON audit_chain_heads FROM asb;
-- What is applied is migrate's alone to say.
REVOKE INSERT, UPDATE, DELETE ON schema_migrations FROM asb;

GRANT SELECT ON audit_events, audit_chain_heads, audit_checkpoints, schema_migrations TO asb_auditor;
