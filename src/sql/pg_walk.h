// One statement's raw parse tree read into a Statement. Reads only: nothing here may call what can report an error in
// PostgreSQL's way, because the trap is gone by then.
//
// Shape    Walk(statement).root(tree). pg_statement.cc says what kind it is and what it does to the session, pg_ddl.cc
//          names DDL and its targets, pg_walk.cc collects relations, functions and flags, pg_children.cc knows the
//          children of every node type.
// Limits   kMaxDepth nodes deep; then the statement is marked too_deep and the walk ends.
// Threads  one walk, one thread.
// Source   PostgreSQL 17, parsenodes.h and primnodes.h.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sql/facts.h"
#include "sql/name_set.h"
#include "sql/pg_headers.h"

namespace herdgate::sql {

class Walk {
 public:
  explicit Walk(Statement& out)
      : out_(out), relations_(out.relations), written_(out.written), functions_(out.functions) {}
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  void root(const ::Node* node);

  // For pg_children.cc: what a node type holds is handed to these.
  void visit(const void* node);
  void visit_list(const ::List* list);

 private:
  // pg_children.cc. A node type that it does not know makes the statement too_deep, that is: a write.
  void visit_children(const ::Node* node);

  // pg_walk.cc
  void dispatch(const ::Node* node);
  void visit_select(const ::SelectStmt* select);
  void visit_writing(const ::Node* node, const ::RangeVar* target, const ::WithClause* with);
  void visit_scoped(const ::Node* node, const ::WithClause* with);
  void visit_type(const ::TypeName* type);
  void visit_cast(const ::TypeCast* cast);
  void visit_function(const ::FuncCall* call);
  void visit_column(const ::List* fields);
  void visit_parts(const ::List* indirection);
  void visit_rows(const ::RangeFunction* rows);
  void visit_alias(const ::Alias* alias);
  void add_by_dot();
  void visit_relation(const ::RangeVar* relation);
  void add_into(const ::IntoClause* into);
  void add_written(const ::RangeVar* relation);
  void add_written(std::string_view schema, std::string_view name);
  bool hidden_by_cte(const ::RangeVar* relation) const;

  // pg_statement.cc
  void nested(const ::Node* query);
  void absorb(const Statement& inner);
  bool root_query(const ::Node* node);
  bool root_session(const ::Node* node);
  bool root_prepared(const ::Node* node);
  bool root_simple(const ::Node* node);
  void root_select(const ::SelectStmt* select);
  void root_transaction(const ::TransactionStmt* statement);
  void root_set(const ::VariableSetStmt* set);
  void root_copy(const ::CopyStmt* copy);
  void root_explain(const ::ExplainStmt* explain);
  void root_lock(const ::LockStmt* lock);
  void transaction_options(const ::List* options);

  // pg_ddl.cc
  void root_ddl(const ::Node* node);
  void ddl_targets(const ::Node* node);
  void ddl_temporary(const ::Node* node);
  void object_target(::ObjectType type, const ::Node* object);

  Statement& out_;
  NameSet<Relation> relations_;
  NameSet<Relation> written_;
  NameSet<Function> functions_;
  // In the tree: t.c, by both names; c of (x).c, which may be a function; aliases of functions in FROM; the columns
  // that an alias names.
  std::set<std::pair<std::string_view, std::string_view>> columns_, named_;
  std::set<std::string_view> by_dot_, of_functions_;
  std::unordered_map<std::string_view, unsigned> ctes_;  // how many members of WITH clauses in scope have the name
  std::size_t set_config_calls_ = 0;
  int depth_ = 0;
  int written_depth_ = -1;  // relations found at this depth are targets of DDL
};

// "pg_temp", which is this session's own schema for temporary things.
bool is_temp_schema(std::string_view schema);
bool is_temporary(const ::RangeVar* relation);
std::string_view text_or_empty(const char* text);
// The last two parts of a dotted name (a List of String nodes).
Relation dotted_name(const ::List* parts);
// A constant's value as text; nullopt when it is no constant or NULL. A cast around it is looked through.
std::optional<std::string> constant_text(const ::Node* node);
bool is_null_constant(const ::Node* node);
// The command tag of a DDL statement as the server would report it; empty when the node is none.
std::string ddl_tag(const ::Node* node);

}  // namespace herdgate::sql
