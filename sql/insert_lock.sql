-- The table whose rows are locked instead of whole tables when INSERTs that draw from a sequence must not overtake each
-- other on different servers (insert_lock). Run it once in every database, as a superuser:
--   psql -f insert_lock.sql DATABASE
CREATE SCHEMA IF NOT EXISTS pgpool_catalog;
CREATE TABLE IF NOT EXISTS pgpool_catalog.insert_lock (reloid oid PRIMARY KEY);

-- Row 0 is locked while the row of a new table is put in.
INSERT INTO pgpool_catalog.insert_lock (reloid) VALUES (0) ON CONFLICT DO NOTHING;

GRANT USAGE ON SCHEMA pgpool_catalog TO PUBLIC;
GRANT SELECT, INSERT, UPDATE ON pgpool_catalog.insert_lock TO PUBLIC;
