/*
 * Commands of PCP as SQL functions.
 *
 * Shape    each function is there twice: with host, port, username and password, and with the name of a foreign server.
 *          Columns are filled by their names, so the functions that Pgpool-II's own script has made are served as well,
 *          by symbols of the same names.
 * Limits   pgpool_adm.connect_timeout, pgpool_adm.reply_timeout, and those of pcp_link.h. Nodes are 0 to kLastNode.
 * Errors   those of pcp_link.h. A column that cannot be read is an error with the context that says where it came from.
 * Threads  a backend has one.
 * Source   Pgpool-II 4.6 for names, columns and the words of node states; src/pcp/message.h for what answers hold.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pcp_link.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(_pcp_node_info);
PG_FUNCTION_INFO_V1(_pcp_health_check_stats);
PG_FUNCTION_INFO_V1(_pcp_pool_status);
PG_FUNCTION_INFO_V1(_pcp_node_count);
PG_FUNCTION_INFO_V1(_pcp_attach_node);
PG_FUNCTION_INFO_V1(_pcp_detach_node);
PG_FUNCTION_INFO_V1(pgpool_adm_validator);
void _PG_init(void);

enum { kLastNode = 127, kDefaultPort = 9898, kNodeTexts = 13, kPoolTexts = 3, kMaxColumns = 20 };
#define kWholeWeight 2147483647.0            /* PCP sends shares multiplied by this */
#define kLastSecond INT64CONST(253402300799) /* of the year 9999 */

static PcpLimits limits;

void _PG_init(void) {
  DefineCustomIntVariable("pgpool_adm.connect_timeout", "How long connecting and logging in to a PCP server may take.",
                          NULL, &limits.connect_ms, 10000, 1, 3600000, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
  DefineCustomIntVariable("pgpool_adm.reply_timeout", "How long a PCP server may take to answer a request.",
                          "More than pgpool's recovery_timeout, for which a graceful detach waits.", &limits.reply_ms,
                          120000, 1, 86400000, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
#if PG_VERSION_NUM >= 150000
  MarkGUCPrefixReserved("pgpool_adm");
#endif
}

/* ---- which server */

static const char* option_of(List* options, const char* name) {
  ListCell* cell;

  foreach (cell, options) {
    DefElem* each = lfirst(cell);

    if (strcmp(each->defname, name) == 0) return defGetString(each);
  }
  return NULL;
}

static int port_of(const char* text) {
  char* end;
  long port = strtol(text, &end, 10);

  if (end == text || *end != '\0' || port < 1 || port > 65535)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid port \"%s\"", text),
                    errhint("The option port is the server's pcp_port, between 1 and 65535.")));
  return (int)port;
}

static void check_usage(const ForeignServer* server) {
#if PG_VERSION_NUM >= 160000
  AclResult may = object_aclcheck(ForeignServerRelationId, server->serverid, GetUserId(), ACL_USAGE);
#else
  AclResult may = pg_foreign_server_aclcheck(server->serverid, GetUserId(), ACL_USAGE);
#endif

  if (may != ACLCHECK_OK) aclcheck_error(may, OBJECT_FOREIGN_SERVER, server->servername);
}

static PcpServer foreign_server(const char* name) {
  ForeignServer* server = GetForeignServerByName(name, false);
  UserMapping* mapping;
  const char *host, *port;
  PcpServer out;

  check_usage(server);
  mapping = GetUserMapping(GetUserId(), server->serverid);
  host = option_of(server->options, "host");
  port = option_of(server->options, "port");
  out.host = host ? host : "";
  out.port = port ? port_of(port) : kDefaultPort;
  out.user = option_of(mapping->options, "user");
  out.password = option_of(mapping->options, "password");
  out.limits = limits;
  if (out.user == NULL || out.password == NULL)
    ereport(ERROR,
            (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
             errmsg("the user mapping of \"%s\" for server \"%s\" has no %s", GetUserNameFromId(GetUserId(), false),
                    name, out.user == NULL ? "user" : "password"),
             errhint("ALTER USER MAPPING ... OPTIONS (ADD user '...', ADD password '...') sets those of pcp.conf.")));
  return out;
}

static char* argument(FunctionCallInfo fcinfo, int n) { return text_to_cstring(PG_GETARG_TEXT_PP(n)); }

/* The arguments from `first` on: one is a server's name. */
static PcpServer server_of(FunctionCallInfo fcinfo, int first) {
  PcpServer out;

  if (PG_NARGS() == first + 1) return foreign_server(argument(fcinfo, first));
  if (PG_NARGS() != first + 4)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_FUNCTION_DEFINITION), errmsg("unexpected number of arguments: %d", PG_NARGS())));
  out.host = argument(fcinfo, first);
  out.port = PG_GETARG_INT32(first + 1);
  out.user = argument(fcinfo, first + 2);
  out.password = argument(fcinfo, first + 3);
  out.limits = limits;
  return out;
}

static void check_option(const DefElem* option, Oid catalog) {
  const char* name = option->defname;

  if (catalog == ForeignServerRelationId && strcmp(name, "host") == 0) return;
  if (catalog == ForeignServerRelationId && strcmp(name, "port") == 0) {
    port_of(defGetString((DefElem*)option));
    return;
  }
  if (catalog == UserMappingRelationId && (strcmp(name, "user") == 0 || strcmp(name, "password") == 0)) return;
  ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errmsg("invalid option \"%s\"", name),
                  errhint("A server has the options host and port, a user mapping user and password.")));
}

Datum pgpool_adm_validator(PG_FUNCTION_ARGS) {
  ListCell* cell;

  foreach (cell, untransformRelOptions(PG_GETARG_DATUM(0))) check_option(lfirst(cell), PG_GETARG_OID(1));
  PG_RETURN_VOID();
}

/* ---- answers as rows */

typedef struct Column {
  const char *name, *text; /* text NULL: null */
} Column;

typedef struct Columns {
  const PcpServer* server;
  int count;
  Column column[kMaxColumns];
} Columns;

static void no_answer(const PcpServer* server, const char* what) {
  ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
                  errmsg("could not understand the answer of the PCP server at %s", pcp_place(server)),
                  errdetail("%s", what), errhint("Is it a Pgpool-II 4.6, or what stands in for it?")));
}

static void add(Columns* columns, const char* name, const char* text) {
  columns->column[columns->count].name = name;
  columns->column[columns->count++].text = text;
}

static char* text_for(const Columns* columns, const char* name) {
  int i;

  for (i = 0; i < columns->count; ++i)
    if (strcmp(columns->column[i].name, name) == 0) return (char*)columns->column[i].text;
  return NULL;
}

static void say_where(void* server) { errcontext("reading the answer of the PCP server at %s", pcp_place(server)); }

static Datum record_of(FunctionCallInfo fcinfo, const Columns* columns) {
  ErrorContextCallback context = {error_context_stack, say_where, (void*)columns->server};
  TupleDesc shape;
  char** texts;
  HeapTuple out;
  int i;

  if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("the function must return a row")));
  shape = BlessTupleDesc(shape);
  texts = palloc0(sizeof(char*) * shape->natts);
  for (i = 0; i < shape->natts; ++i) texts[i] = text_for(columns, NameStr(TupleDescAttr(shape, i)->attname));
  error_context_stack = &context;
  out = BuildTupleFromCStrings(TupleDescGetAttInMetadata(shape), texts);
  error_context_stack = context.previous;
  return HeapTupleGetDatum(out);
}

/* ---- questions */

static int node_argument(FunctionCallInfo fcinfo) {
  int node = PG_GETARG_INT32(0);

  if (node < 0 || node > kLastNode)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("node number %d is out of range", node),
                    errhint("Nodes have the numbers 0 to %d.", kLastNode)));
  return node;
}

static PcpQuestion about_node(char letter, const char* what, int node) {
  PcpQuestion out = {letter, true, false, node, psprintf("%s %d", what, node)};

  return out;
}

static PcpQuestion about_all(char letter, const char* what) {
  PcpQuestion out = {letter, false, false, 0, what};

  return out;
}

static const char* state_words(const PcpServer* server, const char* number) {
  if (strcmp(number, "0") == 0) return "Connection unused";
  if (strcmp(number, "1") == 0) return "Waiting for connection to start";
  if (strcmp(number, "2") == 0) return "Connection in use";
  if (strcmp(number, "3") != 0) no_answer(server, psprintf("The state of a node is \"%s\".", number));
  return "Disconnected";
}

static const char* weight_text(const PcpServer* server, const char* sent) {
  char* end;
  double weight = strtod(sent, &end);

  if (end == sent || *end != '\0' || !isfinite(weight) || weight < 0)
    no_answer(server, psprintf("The weight of a node is \"%s\".", sent));
  return psprintf("%.9g", weight / kWholeWeight);
}

/* Seconds since 1970, as the session's time zone shows them. */
static const char* time_text(const PcpServer* server, const char* sent) {
  char* end;
  long long seconds;
  pg_time_t when;
  char out[32];

  errno = 0;
  seconds = strtoll(sent, &end, 10);
  if (end == sent || *end != '\0' || errno != 0 || seconds < 0 || seconds > kLastSecond)
    no_answer(server, psprintf("The time of a node's last change is \"%s\".", sent));
  when = (pg_time_t)seconds;
  pg_strftime(out, sizeof(out), "%Y-%m-%d %H:%M:%S", pg_localtime(&when, session_timezone));
  return pstrdup(out);
}

Datum _pcp_node_info(PG_FUNCTION_ARGS) {
  PcpQuestion question = about_node('I', "get information about node", node_argument(fcinfo));
  PcpServer server = server_of(fcinfo, 1);
  PcpAnswer* answer = pcp_ask(&server, &question);
  Columns out = {&server, 0, {{NULL}}};
  char** sent;

  if (list_length(answer->rows) != 1)
    no_answer(&server, psprintf("It has %d nodes in place of one.", list_length(answer->rows)));
  if (((PcpTexts*)linitial(answer->rows))->count < kNodeTexts) no_answer(&server, "It has too few values for a node.");
  sent = ((PcpTexts*)linitial(answer->rows))->text;
  add(&out, "host", sent[0]);
  add(&out, "port", sent[1]);
  add(&out, "status", state_words(&server, sent[2]));
  add(&out, "pg_status", sent[4]);
  add(&out, "weight", weight_text(&server, sent[5]));
  add(&out, "role", strcmp(sent[6], "2") == 0 ? "Primary" : "Standby");
  add(&out, "pg_role", sent[7]);
  add(&out, "replication_delay", sent[9]);
  add(&out, "replication_state", sent[10]);
  add(&out, "replication_sync_state", sent[11]);
  add(&out, "last_status_change", time_text(&server, sent[12]));
  return record_of(fcinfo, &out);
}

Datum _pcp_health_check_stats(PG_FUNCTION_ARGS) {
  /* In the order in which PCP sends them. */
  static const char* const kNames[] = {"node_id",
                                       "host",
                                       "port",
                                       "status",
                                       "role",
                                       "last_status_change",
                                       "total_count",
                                       "success_count",
                                       "fail_count",
                                       "skip_count",
                                       "retry_count",
                                       "average_retry_count",
                                       "max_retry_count",
                                       "max_health_check_duration",
                                       "min_health_check_duration",
                                       "average_health_check_duration",
                                       "last_health_check",
                                       "last_successful_health_check",
                                       "last_skip_health_check",
                                       "last_failed_health_check"};
  PcpQuestion question = about_node('H', "get health check statistics of node", node_argument(fcinfo));
  PcpServer server = server_of(fcinfo, 1);
  PcpAnswer* answer = pcp_ask(&server, &question);
  Columns out = {&server, 0, {{NULL}}};
  int i;

  StaticAssertStmt(lengthof(kNames) == kMaxColumns, "a column for each name");
  if (answer->done->count < (int)lengthof(kNames)) no_answer(&server, "It has too few values for a node.");
  for (i = 0; i < (int)lengthof(kNames); ++i) { /* "": there was none */
    const char* sent = answer->done->text[i];

    add(&out, kNames[i], *sent ? sent : NULL);
  }
  return record_of(fcinfo, &out);
}

/* All rows are there before the first is given out, so a query that wants no more of them leaves nothing open. */
static void begin_pool_status(FunctionCallInfo fcinfo) {
  FuncCallContext* call = SRF_FIRSTCALL_INIT();
  MemoryContext before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
  PcpQuestion question = about_all('B', "get the settings of pgpool");
  PcpServer* server = palloc(sizeof(PcpServer));
  PcpAnswer* answer;

  *server = server_of(fcinfo, 0);
  answer = pcp_ask(server, &question);
  call->user_fctx = list_make2(server, answer->rows);
  call->max_calls = list_length(answer->rows);
  MemoryContextSwitchTo(before);
}

Datum _pcp_pool_status(PG_FUNCTION_ARGS) {
  FuncCallContext* call;
  PcpTexts* row;
  Columns out = {NULL, 0, {{NULL}}};

  if (SRF_IS_FIRSTCALL()) begin_pool_status(fcinfo);
  call = SRF_PERCALL_SETUP();
  if (call->call_cntr >= call->max_calls) SRF_RETURN_DONE(call);
  out.server = linitial((List*)call->user_fctx);
  row = list_nth(lsecond((List*)call->user_fctx), (int)call->call_cntr);
  if (row->count < kPoolTexts) no_answer(out.server, "It has too few values for a parameter.");
  add(&out, "item", row->text[0]);
  add(&out, "value", row->text[1]);
  add(&out, "description", row->text[2]);
  SRF_RETURN_NEXT(call, record_of(fcinfo, &out));
}

Datum _pcp_node_count(PG_FUNCTION_ARGS) {
  PcpQuestion question = about_all('L', "get the number of nodes");
  PcpServer server = server_of(fcinfo, 0);
  PcpAnswer* answer = pcp_ask(&server, &question);
  const char* sent = answer->done->count > 0 ? answer->done->text[0] : "";
  char* end;
  long count = strtol(sent, &end, 10);

  if (end == sent || *end != '\0' || count < 0 || count > kLastNode + 1)
    no_answer(&server, psprintf("The number of nodes is \"%s\".", sent));
  PG_RETURN_INT32((int32)count);
}

/* What is done here stays done when the transaction is rolled back. */
static Datum change(const PcpServer* server, PcpQuestion question) {
  question.changes = true;
  (void)pcp_ask(server, &question);
  return BoolGetDatum(true);
}

Datum _pcp_attach_node(PG_FUNCTION_ARGS) {
  PcpQuestion question = about_node('C', "attach node", node_argument(fcinfo));
  PcpServer server = server_of(fcinfo, 1);

  return change(&server, question);
}

Datum _pcp_detach_node(PG_FUNCTION_ARGS) {
  int node = node_argument(fcinfo);
  PcpServer server = server_of(fcinfo, 2);

  if (PG_GETARG_BOOL(1)) return change(&server, about_node('d', "gracefully detach node", node));
  return change(&server, about_node('D', "detach node", node));
}
