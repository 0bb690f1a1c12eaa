// DDL and maintenance commands: their command tag, the relations they aim at, whether they make something temporary.
#include <array>

#include "sql/pg_walk.h"

namespace herdgate::sql {
namespace {

template <class T>
const T* as(const ::Node* node) {
  return reinterpret_cast<const T*>(node);
}

struct TagName {
  ::NodeTag node;
  std::string_view tag;
};

// Node types with one command tag each.
constexpr TagName kTags[] = {
    {T_CreateStmt, "CREATE TABLE"},
    {T_CreateForeignTableStmt, "CREATE FOREIGN TABLE"},
    {T_CreateSchemaStmt, "CREATE SCHEMA"},
    {T_CreateTableSpaceStmt, "CREATE TABLESPACE"},
    {T_DropTableSpaceStmt, "DROP TABLESPACE"},
    {T_AlterTableSpaceOptionsStmt, "ALTER TABLESPACE"},
    {T_AlterTableMoveAllStmt, "ALTER TABLE"},
    {T_CreateExtensionStmt, "CREATE EXTENSION"},
    {T_AlterExtensionStmt, "ALTER EXTENSION"},
    {T_AlterExtensionContentsStmt, "ALTER EXTENSION"},
    {T_CreateFdwStmt, "CREATE FOREIGN DATA WRAPPER"},
    {T_AlterFdwStmt, "ALTER FOREIGN DATA WRAPPER"},
    {T_CreateForeignServerStmt, "CREATE SERVER"},
    {T_AlterForeignServerStmt, "ALTER SERVER"},
    {T_CreateUserMappingStmt, "CREATE USER MAPPING"},
    {T_AlterUserMappingStmt, "ALTER USER MAPPING"},
    {T_DropUserMappingStmt, "DROP USER MAPPING"},
    {T_ImportForeignSchemaStmt, "IMPORT FOREIGN SCHEMA"},
    {T_CreatePolicyStmt, "CREATE POLICY"},
    {T_AlterPolicyStmt, "ALTER POLICY"},
    {T_CreateAmStmt, "CREATE ACCESS METHOD"},
    {T_CreateTrigStmt, "CREATE TRIGGER"},
    {T_CreateEventTrigStmt, "CREATE EVENT TRIGGER"},
    {T_AlterEventTrigStmt, "ALTER EVENT TRIGGER"},
    {T_CreatePLangStmt, "CREATE LANGUAGE"},
    {T_CreateRoleStmt, "CREATE ROLE"},
    {T_AlterRoleStmt, "ALTER ROLE"},
    {T_AlterRoleSetStmt, "ALTER ROLE"},
    {T_DropRoleStmt, "DROP ROLE"},
    {T_ReassignOwnedStmt, "REASSIGN OWNED"},
    {T_DropOwnedStmt, "DROP OWNED"},
    {T_CreateSeqStmt, "CREATE SEQUENCE"},
    {T_AlterSeqStmt, "ALTER SEQUENCE"},
    {T_CreateDomainStmt, "CREATE DOMAIN"},
    {T_AlterDomainStmt, "ALTER DOMAIN"},
    {T_CreateOpClassStmt, "CREATE OPERATOR CLASS"},
    {T_CreateOpFamilyStmt, "CREATE OPERATOR FAMILY"},
    {T_AlterOpFamilyStmt, "ALTER OPERATOR FAMILY"},
    {T_CommentStmt, "COMMENT"},
    {T_SecLabelStmt, "SECURITY LABEL"},
    {T_IndexStmt, "CREATE INDEX"},
    {T_CreateStatsStmt, "CREATE STATISTICS"},
    {T_AlterStatsStmt, "ALTER STATISTICS"},
    {T_RuleStmt, "CREATE RULE"},
    {T_CompositeTypeStmt, "CREATE TYPE"},
    {T_CreateEnumStmt, "CREATE TYPE"},
    {T_CreateRangeStmt, "CREATE TYPE"},
    {T_AlterEnumStmt, "ALTER TYPE"},
    {T_AlterTypeStmt, "ALTER TYPE"},
    {T_AlterCollationStmt, "ALTER COLLATION"},
    {T_AlterOperatorStmt, "ALTER OPERATOR"},
    {T_ViewStmt, "CREATE VIEW"},
    {T_CreatedbStmt, "CREATE DATABASE"},
    {T_AlterDatabaseStmt, "ALTER DATABASE"},
    {T_AlterDatabaseRefreshCollStmt, "ALTER DATABASE"},
    {T_AlterDatabaseSetStmt, "ALTER DATABASE"},
    {T_DropdbStmt, "DROP DATABASE"},
    {T_AlterSystemStmt, "ALTER SYSTEM"},
    {T_ClusterStmt, "CLUSTER"},
    {T_RefreshMatViewStmt, "REFRESH MATERIALIZED VIEW"},
    {T_ReindexStmt, "REINDEX"},
    {T_CreateConversionStmt, "CREATE CONVERSION"},
    {T_CreateCastStmt, "CREATE CAST"},
    {T_CreateTransformStmt, "CREATE TRANSFORM"},
    {T_AlterDefaultPrivilegesStmt, "ALTER DEFAULT PRIVILEGES"},
    {T_AlterTSDictionaryStmt, "ALTER TEXT SEARCH DICTIONARY"},
    {T_AlterTSConfigurationStmt, "ALTER TEXT SEARCH CONFIGURATION"},
    {T_CreatePublicationStmt, "CREATE PUBLICATION"},
    {T_AlterPublicationStmt, "ALTER PUBLICATION"},
    {T_CreateSubscriptionStmt, "CREATE SUBSCRIPTION"},
    {T_AlterSubscriptionStmt, "ALTER SUBSCRIPTION"},
    {T_DropSubscriptionStmt, "DROP SUBSCRIPTION"},
};

struct ObjectName {
  ::ObjectType object;
  std::string_view words;
};

// What stands behind CREATE, ALTER or DROP for node types that serve many kinds of object.
constexpr ObjectName kObjects[] = {
    {OBJECT_ACCESS_METHOD, "ACCESS METHOD"},
    {OBJECT_AGGREGATE, "AGGREGATE"},
    {OBJECT_ATTRIBUTE, "TYPE"},
    {OBJECT_CAST, "CAST"},
    {OBJECT_COLLATION, "COLLATION"},
    {OBJECT_COLUMN, "TABLE"},
    {OBJECT_CONVERSION, "CONVERSION"},
    {OBJECT_DATABASE, "DATABASE"},
    {OBJECT_DOMAIN, "DOMAIN"},
    {OBJECT_DOMCONSTRAINT, "DOMAIN"},
    {OBJECT_EVENT_TRIGGER, "EVENT TRIGGER"},
    {OBJECT_EXTENSION, "EXTENSION"},
    {OBJECT_FDW, "FOREIGN DATA WRAPPER"},
    {OBJECT_FOREIGN_SERVER, "SERVER"},
    {OBJECT_FOREIGN_TABLE, "FOREIGN TABLE"},
    {OBJECT_FUNCTION, "FUNCTION"},
    {OBJECT_INDEX, "INDEX"},
    {OBJECT_LANGUAGE, "LANGUAGE"},
    {OBJECT_LARGEOBJECT, "LARGE OBJECT"},
    {OBJECT_MATVIEW, "MATERIALIZED VIEW"},
    {OBJECT_OPCLASS, "OPERATOR CLASS"},
    {OBJECT_OPERATOR, "OPERATOR"},
    {OBJECT_OPFAMILY, "OPERATOR FAMILY"},
    {OBJECT_POLICY, "POLICY"},
    {OBJECT_PROCEDURE, "PROCEDURE"},
    {OBJECT_PUBLICATION, "PUBLICATION"},
    {OBJECT_ROLE, "ROLE"},
    {OBJECT_ROUTINE, "ROUTINE"},
    {OBJECT_RULE, "RULE"},
    {OBJECT_SCHEMA, "SCHEMA"},
    {OBJECT_SEQUENCE, "SEQUENCE"},
    {OBJECT_SUBSCRIPTION, "SUBSCRIPTION"},
    {OBJECT_STATISTIC_EXT, "STATISTICS"},
    {OBJECT_TABCONSTRAINT, "TABLE"},
    {OBJECT_TABLE, "TABLE"},
    {OBJECT_TABLESPACE, "TABLESPACE"},
    {OBJECT_TRANSFORM, "TRANSFORM"},
    {OBJECT_TRIGGER, "TRIGGER"},
    {OBJECT_TSCONFIGURATION, "TEXT SEARCH CONFIGURATION"},
    {OBJECT_TSDICTIONARY, "TEXT SEARCH DICTIONARY"},
    {OBJECT_TSPARSER, "TEXT SEARCH PARSER"},
    {OBJECT_TSTEMPLATE, "TEXT SEARCH TEMPLATE"},
    {OBJECT_TYPE, "TYPE"},
    {OBJECT_USER_MAPPING, "USER MAPPING"},
    {OBJECT_VIEW, "VIEW"},
};

std::string tag_for(std::string_view verb, ::ObjectType object) {
  for (const ObjectName& known : kObjects) {
    if (known.object == object) return std::string(verb).append(" ").append(known.words);
  }
  return std::string(verb);
}

// Only these options: the role may log in otherwise than before, what it may see is the same.
bool login_only(const ::AlterRoleStmt* alter) {
  ListCell* cell = nullptr;
  foreach (cell, alter->options) {
    const std::string_view name = text_or_empty(static_cast<const ::DefElem*>(lfirst(cell))->defname);
    if (name != "password" && name != "connectionlimit") return false;
  }
  return alter->options != nullptr;
}

// The new role is made a member of others, or others of it.
bool grants_role(const ::CreateRoleStmt* create) {
  ListCell* cell = nullptr;
  foreach (cell, create->options) {
    const std::string_view name = text_or_empty(static_cast<const ::DefElem*>(lfirst(cell))->defname);
    if (name == "addroleto" || name == "rolemembers" || name == "adminmembers") return true;
  }
  return false;
}

bool is_relation_type(::ObjectType type) {
  return type == OBJECT_TABLE || type == OBJECT_VIEW || type == OBJECT_MATVIEW || type == OBJECT_FOREIGN_TABLE ||
         type == OBJECT_SEQUENCE || type == OBJECT_INDEX;
}

// Objects that are named by their table's name with their own behind it.
bool is_part_of_relation(::ObjectType type) {
  return type == OBJECT_COLUMN || type == OBJECT_TRIGGER || type == OBJECT_RULE || type == OBJECT_POLICY ||
         type == OBJECT_TABCONSTRAINT;
}

// Names of functions, types and the like that a statement creates, when it has a dotted one.
const ::List* created_name(const ::Node* node) {
  switch (nodeTag(node)) {
    case T_CreateFunctionStmt:
      return as<::CreateFunctionStmt>(node)->funcname;
    case T_CreateEnumStmt:
      return as<::CreateEnumStmt>(node)->typeName;
    case T_CreateRangeStmt:
      return as<::CreateRangeStmt>(node)->typeName;
    case T_CreateDomainStmt:
      return as<::CreateDomainStmt>(node)->domainname;
    case T_DefineStmt:
      return as<::DefineStmt>(node)->defnames;
    case T_CreateStatsStmt:
      return as<::CreateStatsStmt>(node)->defnames;
    case T_CreateConversionStmt:
      return as<::CreateConversionStmt>(node)->conversion_name;
    case T_CreateOpClassStmt:
      return as<::CreateOpClassStmt>(node)->opclassname;
    case T_CreateOpFamilyStmt:
      return as<::CreateOpFamilyStmt>(node)->opfamilyname;
    default:
      return nullptr;
  }
}

}  // namespace

std::string ddl_tag(const ::Node* node) {
  switch (nodeTag(node)) {
    case T_DropStmt:
      return tag_for("DROP", as<::DropStmt>(node)->removeType);
    case T_DefineStmt:
      return tag_for("CREATE", as<::DefineStmt>(node)->kind);
    case T_AlterTableStmt:
      return tag_for("ALTER", as<::AlterTableStmt>(node)->objtype);
    case T_RenameStmt: {
      const auto* rename = as<::RenameStmt>(node);
      return tag_for("ALTER", rename->renameType == OBJECT_COLUMN || rename->renameType == OBJECT_ATTRIBUTE
                                  ? rename->relationType
                                  : rename->renameType);
    }
    case T_AlterObjectDependsStmt:
      return tag_for("ALTER", as<::AlterObjectDependsStmt>(node)->objectType);
    case T_AlterObjectSchemaStmt:
      return tag_for("ALTER", as<::AlterObjectSchemaStmt>(node)->objectType);
    case T_AlterOwnerStmt:
      return tag_for("ALTER", as<::AlterOwnerStmt>(node)->objectType);
    case T_AlterFunctionStmt:
      return tag_for("ALTER", as<::AlterFunctionStmt>(node)->objtype);
    case T_CreateFunctionStmt:
      return as<::CreateFunctionStmt>(node)->is_procedure ? "CREATE PROCEDURE" : "CREATE FUNCTION";
    case T_CreateTableAsStmt:
      return as<::CreateTableAsStmt>(node)->objtype == OBJECT_MATVIEW ? "CREATE MATERIALIZED VIEW" : "CREATE TABLE AS";
    case T_GrantStmt:
      return as<::GrantStmt>(node)->is_grant ? "GRANT" : "REVOKE";
    case T_GrantRoleStmt:
      return as<::GrantRoleStmt>(node)->is_grant ? "GRANT ROLE" : "REVOKE ROLE";
    case T_VacuumStmt:
      return as<::VacuumStmt>(node)->is_vacuumcmd ? "VACUUM" : "ANALYZE";
    default:
      for (const TagName& known : kTags) {
        if (known.node == nodeTag(node)) return std::string(known.tag);
      }
      return {};
  }
}

void Walk::root_ddl(const ::Node* node) {
  out_.ddl_tag = ddl_tag(node);
  out_.kind = out_.ddl_tag.empty() ? Kind::other : Kind::ddl;
  if (nodeTag(node) == T_CreateTableAsStmt) {
    add_into(as<::CreateTableAsStmt>(node)->into);
    nested(as<::CreateTableAsStmt>(node)->query);
    return;
  }
  if (nodeTag(node) == T_AlterRoleStmt) out_.role_login_only = login_only(as<::AlterRoleStmt>(node));
  if (nodeTag(node) == T_CreateRoleStmt) out_.grants_role = grants_role(as<::CreateRoleStmt>(node));
  ddl_targets(node);
  ddl_temporary(node);
  if (nodeTag(node) == T_DropStmt) return;
  // A composite type's name has the form of a relation's.
  if (nodeTag(node) == T_CompositeTypeStmt) return visit_list(as<::CompositeTypeStmt>(node)->coldeflist);
  // What the statement itself names is a target; what stands deeper (a view's query, a referenced table) is read.
  written_depth_ = nodeTag(node) == T_CreateSchemaStmt ? 3 : 2;
  visit(node);
}

// Targets whose names are lists of words, not relations of the tree.
void Walk::ddl_targets(const ::Node* node) {
  ListCell* cell = nullptr;
  switch (nodeTag(node)) {
    case T_DropStmt: {
      const auto* drop = as<::DropStmt>(node);
      out_.drops_table = drop->removeType == OBJECT_TABLE || drop->removeType == OBJECT_FOREIGN_TABLE;
      foreach (cell, drop->objects) object_target(drop->removeType, static_cast<const ::Node*>(lfirst(cell)));
      return;
    }
    case T_CommentStmt:
      return object_target(as<::CommentStmt>(node)->objtype, as<::CommentStmt>(node)->object);
    case T_SecLabelStmt:
      return object_target(as<::SecLabelStmt>(node)->objtype, as<::SecLabelStmt>(node)->object);
    case T_VacuumStmt:
      foreach (cell, as<::VacuumStmt>(node)->rels) {
        add_written(static_cast<const ::VacuumRelation*>(lfirst(cell))->relation);
      }
      return;
    default:
      return;
  }
}

void Walk::object_target(::ObjectType type, const ::Node* object) {
  if (object == nullptr || nodeTag(object) != T_List) return;
  const auto* parts = as<::List>(object);
  if (is_relation_type(type)) {
    const Relation name = dotted_name(parts);
    return add_written(name.schema, name.name);
  }
  if (!is_part_of_relation(type)) return;
  Relation name;
  for (int i = 0; i + 1 < list_length(parts); ++i) {
    const auto* part = static_cast<const ::Node*>(list_nth(parts, i));
    if (nodeTag(part) != T_String) return;
    name.schema = std::move(name.name);
    name.name = text_or_empty(as<::String>(part)->sval);
  }
  if (!name.name.empty()) add_written(name.schema, name.name);
}

void Walk::ddl_temporary(const ::Node* node) {
  const ::RangeVar* created = nullptr;
  if (nodeTag(node) == T_CreateStmt) {
    created = as<::CreateStmt>(node)->relation;
    out_.temp_until_commit = as<::CreateStmt>(node)->oncommit == ONCOMMIT_DROP;
  }
  if (nodeTag(node) == T_CreateForeignTableStmt) created = as<::CreateForeignTableStmt>(node)->base.relation;
  if (nodeTag(node) == T_ViewStmt) created = as<::ViewStmt>(node)->view;
  if (nodeTag(node) == T_CreateSeqStmt) created = as<::CreateSeqStmt>(node)->sequence;
  if (nodeTag(node) == T_CompositeTypeStmt) created = as<::CompositeTypeStmt>(node)->typevar;
  const ::List* name = created_name(node);
  out_.creates_temp = is_temporary(created) || (name != nullptr && is_temp_schema(dotted_name(name).schema));
}

}  // namespace herdgate::sql
