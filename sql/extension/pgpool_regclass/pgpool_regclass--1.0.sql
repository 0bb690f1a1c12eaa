/* The id of a relation by its name, 0 for what is unknown; see pgpool-regclass.c. */
\echo Use "CREATE EXTENSION pgpool_regclass" to load this file. \quit

CREATE FUNCTION pg_catalog.pgpool_regclass(IN expression cstring)
RETURNS oid AS 'MODULE_PATHNAME', 'pgpool_regclass' LANGUAGE C VOLATILE STRICT;
