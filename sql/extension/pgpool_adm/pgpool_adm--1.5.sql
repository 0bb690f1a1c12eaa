/* Commands of PCP as SQL functions; see pgpool_adm.c. */
\echo Use "CREATE EXTENSION pgpool_adm" to load this file. \quit

/* pcp_server is the name of a foreign server with the options host and port (9898), whose user mappings have user and
   password. Any wrapper's server will do; this one knows no tables, and checks the names of options. */
CREATE FUNCTION pgpool_adm_validator(IN options text[], IN catalog oid)
RETURNS void AS 'MODULE_PATHNAME', 'pgpool_adm_validator' LANGUAGE C VOLATILE STRICT;
CREATE FOREIGN DATA WRAPPER pgpool_adm VALIDATOR pgpool_adm_validator;

CREATE FUNCTION pcp_node_info(IN node_id integer, IN host text, IN port integer, IN username text, IN password text,
    OUT host text, OUT port integer, OUT status text, OUT pg_status text, OUT weight real, OUT role text, OUT pg_role text,
    OUT replication_delay bigint, OUT replication_state text, OUT replication_sync_state text,
    OUT last_status_change timestamp)
RETURNS record AS 'MODULE_PATHNAME', '_pcp_node_info' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pcp_node_info(IN node_id integer, IN pcp_server text,
    OUT host text, OUT port integer, OUT status text, OUT pg_status text, OUT weight real, OUT role text, OUT pg_role text,
    OUT replication_delay bigint, OUT replication_state text, OUT replication_sync_state text,
    OUT last_status_change timestamp)
RETURNS record AS 'MODULE_PATHNAME', '_pcp_node_info' LANGUAGE C VOLATILE STRICT;

/* Durations are in milliseconds. */
CREATE FUNCTION pcp_health_check_stats(IN node_id integer, IN host text, IN port integer, IN username text, IN password text,
    OUT node_id integer, OUT host text, OUT port integer, OUT status text, OUT role text, OUT last_status_change timestamp,
    OUT total_count bigint, OUT success_count bigint, OUT fail_count bigint, OUT skip_count bigint, OUT retry_count bigint,
    OUT average_retry_count real, OUT max_retry_count bigint, OUT max_health_check_duration bigint,
    OUT min_health_check_duration bigint, OUT average_health_check_duration real, OUT last_health_check timestamp,
    OUT last_successful_health_check timestamp, OUT last_skip_health_check timestamp,
    OUT last_failed_health_check timestamp)
RETURNS record AS 'MODULE_PATHNAME', '_pcp_health_check_stats' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pcp_health_check_stats(IN node_id integer, IN pcp_server text,
    OUT node_id integer, OUT host text, OUT port integer, OUT status text, OUT role text, OUT last_status_change timestamp,
    OUT total_count bigint, OUT success_count bigint, OUT fail_count bigint, OUT skip_count bigint, OUT retry_count bigint,
    OUT average_retry_count real, OUT max_retry_count bigint, OUT max_health_check_duration bigint,
    OUT min_health_check_duration bigint, OUT average_health_check_duration real, OUT last_health_check timestamp,
    OUT last_successful_health_check timestamp, OUT last_skip_health_check timestamp,
    OUT last_failed_health_check timestamp)
RETURNS record AS 'MODULE_PATHNAME', '_pcp_health_check_stats' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION pcp_pool_status(IN host text, IN port integer, IN username text, IN password text,
    OUT item text, OUT value text, OUT description text)
RETURNS SETOF record AS 'MODULE_PATHNAME', '_pcp_pool_status' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pcp_pool_status(IN pcp_server text, OUT item text, OUT value text, OUT description text)
RETURNS SETOF record AS 'MODULE_PATHNAME', '_pcp_pool_status' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION pcp_node_count(IN host text, IN port integer, IN username text, IN password text, OUT node_count integer)
RETURNS integer AS 'MODULE_PATHNAME', '_pcp_node_count' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pcp_node_count(IN pcp_server text, OUT node_count integer)
RETURNS integer AS 'MODULE_PATHNAME', '_pcp_node_count' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION pcp_attach_node(IN node_id integer, IN host text, IN port integer, IN username text, IN password text,
    OUT node_attached boolean)
RETURNS boolean AS 'MODULE_PATHNAME', '_pcp_attach_node' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pcp_attach_node(IN node_id integer, IN pcp_server text, OUT node_attached boolean)
RETURNS boolean AS 'MODULE_PATHNAME', '_pcp_attach_node' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION pcp_detach_node(IN node_id integer, IN gracefully boolean, IN host text, IN port integer,
    IN username text, IN password text, OUT node_detached boolean)
RETURNS boolean AS 'MODULE_PATHNAME', '_pcp_detach_node' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pcp_detach_node(IN node_id integer, IN gracefully boolean, IN pcp_server text, OUT node_detached boolean)
RETURNS boolean AS 'MODULE_PATHNAME', '_pcp_detach_node' LANGUAGE C VOLATILE STRICT;

/* What changes the cluster is for those to whom it is granted. */
REVOKE ALL ON FUNCTION pcp_attach_node(integer, text, integer, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pcp_attach_node(integer, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pcp_detach_node(integer, boolean, text, integer, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pcp_detach_node(integer, boolean, text) FROM PUBLIC;
