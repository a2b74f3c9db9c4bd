-- Three roles: asb_owner brings the tables up to date (migrate), asb is what the API and the workers run as, asb_auditor reads the audit
-- events. Run once, in ASB's own database, as a superuser, before the first migration; then give each a password (\password asb):
--
--   psql "$ADMIN_DSN" --set ON_ERROR_STOP=1 --single-transaction --file roles.sql
CREATE ROLE asb_owner LOGIN NOINHERIT;
CREATE ROLE asb LOGIN NOINHERIT;
CREATE ROLE asb_auditor LOGIN NOINHERIT;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO asb_owner;
GRANT USAGE ON SCHEMA public TO asb, asb_auditor;

-- Of every migration to come.
ALTER DEFAULT PRIVILEGES FOR ROLE asb_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO asb;
