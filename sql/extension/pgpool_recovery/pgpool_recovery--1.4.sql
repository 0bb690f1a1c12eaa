/* Functions for the proxy in front of the servers. Superusers only; see pgpool-recovery.c. */
\echo Use "CREATE EXTENSION pgpool_recovery" to load this file. \quit

/* The script lies in this server's data directory and is given that directory and the arguments behind the first. */
CREATE FUNCTION pgpool_recovery(IN script_name text, IN remote_host text, IN remote_data_directory text, IN
    primary_port text, IN remote_node integer, IN remote_port text, IN primary_host text, OUT recovery boolean)
RETURNS boolean AS 'MODULE_PATHNAME', 'pgpool_recovery' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pgpool_recovery(IN script_name text, IN remote_host text, IN remote_data_directory text, IN
    primary_port text, IN remote_node integer, IN remote_port text, OUT recovery boolean)
RETURNS boolean AS 'MODULE_PATHNAME', 'pgpool_recovery' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pgpool_recovery(IN script_name text, IN remote_host text, IN remote_data_directory text, IN
    primary_port text, IN remote_node integer, OUT recovery boolean)
RETURNS boolean AS 'MODULE_PATHNAME', 'pgpool_recovery' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pgpool_recovery(IN script_name text, IN remote_host text, IN remote_data_directory text, IN
    primary_port text, OUT recovery boolean)
RETURNS boolean AS 'MODULE_PATHNAME', 'pgpool_recovery' LANGUAGE C VOLATILE STRICT;
CREATE FUNCTION pgpool_recovery(IN script_name text, IN remote_host text, IN remote_data_directory text, OUT
    recovery boolean)
RETURNS boolean AS 'MODULE_PATHNAME', 'pgpool_recovery' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION pgpool_remote_start(IN remote_host text, IN remote_data_directory text, OUT remote_start boolean)
RETURNS boolean AS 'MODULE_PATHNAME', 'pgpool_remote_start' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION pgpool_pgctl(IN action text, IN stop_mode text, OUT pgctl boolean)
RETURNS boolean AS 'MODULE_PATHNAME', 'pgpool_pgctl' LANGUAGE C VOLATILE STRICT;

CREATE FUNCTION pgpool_switch_xlog(IN archive_dir text, OUT switch_xlog text)
RETURNS text AS 'MODULE_PATHNAME', 'pgpool_switch_xlog' LANGUAGE C VOLATILE STRICT;

/* Not in Pgpool-II: stops the server and starts it again as a standby of primary_conninfo. */
CREATE FUNCTION pgpool_restart_as_standby(IN stop_mode text, OUT restarting boolean)
RETURNS boolean AS 'MODULE_PATHNAME', 'pgpool_restart_as_standby' LANGUAGE C VOLATILE STRICT;

REVOKE ALL ON FUNCTION pgpool_recovery(text, text, text, text, integer, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgpool_recovery(text, text, text, text, integer, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgpool_recovery(text, text, text, text, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgpool_recovery(text, text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgpool_recovery(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgpool_remote_start(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgpool_pgctl(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgpool_switch_xlog(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgpool_restart_as_standby(text) FROM PUBLIC;
