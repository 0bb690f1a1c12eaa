/*
 * The id of a relation by its name, as to_regclass() gives it, for what was written when that was not there.
 *
 * Shape    pgpool_regclass('name'), ('schema.name') or ('database.schema.name'), parts quoted as in SQL.
 * Errors   none: 0 for a text that is no name, for what does not exist, for another database and for a schema that the
 *          user may not look into.
 * Limits   takes no lock, so the relation may be gone before the id is used.
 * Source   PostgreSQL manual, "System Information Functions"; Pgpool-II 4.6 for its name and for the 0.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(pgpool_regclass);

/* What RangeVarGetRelid() would make an error of. */
static bool may_look_into(const char* schema) {
  Oid id;

  if (strcmp(schema, "pg_temp") == 0) return true; /* no schema of that name stands in the catalog */
  id = get_namespace_oid(schema, true);
  if (!OidIsValid(id)) return false;
#if PG_VERSION_NUM >= 160000
  return object_aclcheck(NamespaceRelationId, id, GetUserId(), ACL_USAGE) == ACLCHECK_OK;
#else
  return pg_namespace_aclcheck(id, GetUserId(), ACL_USAGE) == ACLCHECK_OK;
#endif
}

/* The parts of a name; false: it is none. */
static bool read_name(const char* text, RangeVar* out) {
  List* parts;
  int count;

  if (!SplitIdentifierString(pstrdup(text), '.', &parts)) return false;
  count = list_length(parts);
  if (count < 1 || count > 3) return false;
  out->relname = llast(parts);
  if (count > 1) out->schemaname = list_nth(parts, count - 2);
  if (count > 2) out->catalogname = linitial(parts);
  return true;
}

Datum pgpool_regclass(PG_FUNCTION_ARGS) {
  RangeVar* name = makeRangeVar(NULL, NULL, -1);

  if (!read_name(PG_GETARG_CSTRING(0), name)) PG_RETURN_OID(InvalidOid);
  if (name->catalogname != NULL) {
    const char* here = get_database_name(MyDatabaseId);

    if (here == NULL || strcmp(name->catalogname, here) != 0) PG_RETURN_OID(InvalidOid);
  }
  if (name->schemaname != NULL && !may_look_into(name->schemaname)) PG_RETURN_OID(InvalidOid);
  PG_RETURN_OID(RangeVarGetRelid(name, NoLock, true));
}
