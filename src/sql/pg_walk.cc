// Relations, functions and flags, wherever they stand in the tree. CTE names hide relations where they are in scope.
#include "sql/pg_walk.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace herdgate::sql {
namespace {

template <class T>
const T* as(const ::Node* node) {
  return reinterpret_cast<const T*>(node);
}

bool time_zone_type(std::string_view name) { return name == "timestamptz" || name == "timetz"; }

bool date_time_type(std::string_view name) {
  return name == "date" || name == "time" || name == "timestamp" || time_zone_type(name);
}

// 'now' and its relatives become the present time when they are cast, blanks around them or not.
bool names_present_time(std::string_view text) {
  static constexpr std::array<std::string_view, 4> kWords = {"now", "today", "tomorrow", "yesterday"};
  std::string word;
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      word.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    } else if (!word.empty()) {
      break;
    }
  }
  return std::ranges::find(kWords, word) != kWords.end();
}

// PostgreSQL's own that take any row and are not immutable.
bool takes_any_row(std::string_view function) {
  static constexpr std::array<std::string_view, 16> kFunctions = {
      "concat",        "json_agg",   "json_build_array",  "json_build_object",  "jsonb_agg",
      "quote_literal", "pg_typeof",  "jsonb_build_array", "jsonb_build_object", "pg_column_size",
      "row_to_json",   "record_out", "quote_nullable",    "record_send",        "pg_column_compression",
      "to_json"};
  return function == "to_jsonb" || std::find(kFunctions.begin(), kFunctions.end(), function) != kFunctions.end();
}

}  // namespace

std::string_view text_or_empty(const char* text) { return text == nullptr ? std::string_view{} : text; }

bool is_temp_schema(std::string_view schema) { return schema == "pg_temp"; }

bool is_temporary(const ::RangeVar* relation) {
  return relation != nullptr &&
         (relation->relpersistence == 't' || is_temp_schema(text_or_empty(relation->schemaname)));
}

Relation dotted_name(const ::List* parts) {
  Relation found;
  ListCell* cell = nullptr;
  foreach (cell, parts) {
    const auto* part = static_cast<const ::Node*>(lfirst(cell));
    if (part == nullptr || nodeTag(part) != T_String) continue;
    found.schema = std::move(found.name);
    found.name = text_or_empty(as<::String>(part)->sval);
  }
  return found;
}

bool is_null_constant(const ::Node* node) {
  while (node != nullptr && nodeTag(node) == T_TypeCast) node = as<::TypeCast>(node)->arg;
  return node != nullptr && nodeTag(node) == T_A_Const && as<::A_Const>(node)->isnull;
}

std::optional<std::string> constant_text(const ::Node* node) {
  while (node != nullptr && nodeTag(node) == T_TypeCast) node = as<::TypeCast>(node)->arg;
  if (node == nullptr || nodeTag(node) != T_A_Const) return std::nullopt;
  const auto* constant = as<::A_Const>(node);
  if (constant->isnull) return std::nullopt;
  switch (nodeTag(&constant->val.node)) {
    case T_Integer:
      return std::to_string(constant->val.ival.ival);
    case T_Float:
      return std::string(text_or_empty(constant->val.fval.fval));
    case T_Boolean:
      return std::string(constant->val.boolval.boolval ? "true" : "false");
    case T_String:
      return std::string(text_or_empty(constant->val.sval.sval));
    case T_BitString:
      return std::string(text_or_empty(constant->val.bsval.bsval));
    default:
      return std::nullopt;
  }
}

void Walk::visit(const void* any) {
  const auto* node = static_cast<const ::Node*>(any);
  if (node == nullptr || out_.too_deep) return;
  if (depth_ >= kMaxDepth) {
    out_.too_deep = true;
    return;
  }
  ++depth_;
  dispatch(node);
  --depth_;
}

void Walk::visit_list(const ::List* list) {
  if (list == nullptr || nodeTag(list) != T_List) return;  // lists of numbers hold nothing to visit
  ListCell* cell = nullptr;
  foreach (cell, list) visit(lfirst(cell));
}

void Walk::dispatch(const ::Node* node) {
  switch (nodeTag(node)) {
    case T_String:
    case T_Integer:
    case T_Float:
    case T_Boolean:
    case T_BitString:
    case T_A_Const:
    case T_A_Star:
    case T_WithClause:  // visited by the statement that owns it, before the rest
    case T_IntoClause:
      return;
    case T_ColumnRef:
      return visit_column(as<::ColumnRef>(node)->fields);
    case T_List:
      return visit_list(as<::List>(node));
    case T_RangeVar:
      return visit_relation(as<::RangeVar>(node));
    case T_FuncCall:
      return visit_function(as<::FuncCall>(node));
    case T_SelectStmt:
      return visit_select(as<::SelectStmt>(node));
    case T_InsertStmt:
      return visit_writing(node, as<::InsertStmt>(node)->relation, as<::InsertStmt>(node)->withClause);
    case T_UpdateStmt:
      return visit_writing(node, as<::UpdateStmt>(node)->relation, as<::UpdateStmt>(node)->withClause);
    case T_DeleteStmt:
      return visit_writing(node, as<::DeleteStmt>(node)->relation, as<::DeleteStmt>(node)->withClause);
    case T_MergeStmt:
      return visit_writing(node, as<::MergeStmt>(node)->relation, as<::MergeStmt>(node)->withClause);
    case T_TypeCast:
      return visit_cast(as<::TypeCast>(node));
    case T_TypeName:
      return visit_type(as<::TypeName>(node));
    case T_ParamRef:
      out_.has_parameters = true;
      return;
    case T_SQLValueFunction:
      (as<::SQLValueFunction>(node)->op < SVFOP_CURRENT_ROLE ? out_.current_time : out_.current_user_like) = true;
      return;
    case T_LockingClause:  // its names are those of FROM, not relations
      out_.locking = true;
      return;
    case T_RangeTableSample:
      out_.tablesample = true;
      break;
    case T_A_Indirection:
      visit_parts(as<::A_Indirection>(node)->indirection);
      break;
    case T_RangeFunction:
      visit_rows(as<::RangeFunction>(node));
      break;
    case T_Alias:
      return visit_alias(as<::Alias>(node));
    default:
      break;
  }
  visit_children(node);
}

void Walk::visit_select(const ::SelectStmt* select) {
  if (select->intoClause != nullptr) add_into(select->intoClause);
  visit_scoped(reinterpret_cast<const ::Node*>(select), select->withClause);
}

void Walk::add_into(const ::IntoClause* into) {
  out_.into = true;
  add_written(into->rel);
  out_.creates_temp = out_.creates_temp || is_temporary(into->rel);
  out_.temp_until_commit = into->onCommit == ONCOMMIT_DROP;
}

void Walk::visit_writing(const ::Node* node, const ::RangeVar* target, const ::WithClause* with) {
  out_.writing_with_any = true;
  // A target is never a CTE, whatever its name.
  add_written(target);
  visit_scoped(node, with);
}

// A member of WITH sees those before it; with RECURSIVE it sees all. The statement itself sees all.
void Walk::visit_scoped(const ::Node* node, const ::WithClause* with) {
  if (with == nullptr) return visit_children(node);
  std::vector<std::string_view> names;
  const auto enter = [&](const ::CommonTableExpr* cte) {
    names.push_back(text_or_empty(cte->ctename));
    ++ctes_[names.back()];
  };
  ListCell* cell = nullptr;
  if (with->recursive) {
    foreach (cell, with->ctes) enter(static_cast<const ::CommonTableExpr*>(lfirst(cell)));
  }
  foreach (cell, with->ctes) {
    const auto* cte = static_cast<const ::CommonTableExpr*>(lfirst(cell));
    visit(cte);
    if (!with->recursive) enter(cte);
  }
  visit_children(node);
  for (const std::string_view name : names) --ctes_[name];
}

void Walk::visit_function(const ::FuncCall* call) {
  const Relation name = dotted_name(call->funcname);
  functions_.add(name.schema, name.name);
  if (name.name == "set_config" && (name.schema.empty() || name.schema == "pg_catalog")) ++set_config_calls_;
  visit_list(call->args);
  visit_list(call->agg_order);
  visit(call->agg_filter);
  visit(call->over);
}

void Walk::visit_cast(const ::TypeCast* cast) {
  visit(cast->typeName);
  if (date_time_type(dotted_name(cast->typeName->names).name)) {
    if (const auto text = constant_text(cast->arg); text && names_present_time(*text)) out_.current_time = true;
  }
  visit(cast->arg);
}

// t.c: where no such column is, c(t). What takes the rows of a relation the catalog tells; of other rows, see
// add_by_dot().
void Walk::visit_column(const ::List* fields) {
  const auto* last = static_cast<const ::Node*>(llast(fields));
  if (nodeTag(last) != T_String) return;
  const std::string_view name = strVal(last);
  out_.locks_shown |= name == "xmax" || name == "cmin" || name == "cmax";
  if (list_length(fields) < 2) return;
  const auto* of = static_cast<const ::Node*>(list_nth(fields, list_length(fields) - 2));
  columns_.emplace(nodeTag(of) == T_String ? strVal(of) : "", name);
}

// (x).c: a field, or c(x), or a cast to a type c.
void Walk::visit_parts(const ::List* indirection) {
  ListCell* cell = nullptr;
  foreach (cell, indirection) {
    const auto* part = static_cast<const ::Node*>(lfirst(cell));
    if (nodeTag(part) != T_String) continue;
    const std::string_view name = strVal(part);
    out_.time_zone_cast |= time_zone_type(name);
    out_.current_time |= date_time_type(name);
    out_.locks_shown |= name == "xmax" || name == "cmin" || name == "cmax";
    by_dot_.insert(name);
  }
}

// FROM f() AS r: what its columns are called is known where the text says so.
void Walk::visit_rows(const ::RangeFunction* rows) {
  if (rows->alias != nullptr) of_functions_.insert(text_or_empty(rows->alias->aliasname));
  ListCell* cell = nullptr;
  foreach (cell, rows->coldeflist) {
    if (rows->alias != nullptr)
      named_.emplace(text_or_empty(rows->alias->aliasname),
                     text_or_empty(static_cast<const ::ColumnDef*>(lfirst(cell))->colname));
  }
  foreach (cell, rows->functions) {  // each a list of the call and its columns; without an alias it has the call's name
    const auto* call = static_cast<const ::Node*>(linitial(static_cast<const ::List*>(lfirst(cell))));
    if (rows->alias == nullptr && call != nullptr && nodeTag(call) == T_FuncCall)
      of_functions_.insert(strVal(llast(as<::FuncCall>(call)->funcname)));
  }
}

void Walk::visit_alias(const ::Alias* alias) {
  ListCell* cell = nullptr;
  foreach (cell, alias->colnames) named_.emplace(text_or_empty(alias->aliasname), strVal(lfirst(cell)));
}

// Behind all that are called by a name of their own. Rows of functions, or of no relation, may be of any type.
void Walk::add_by_dot() {
  std::set<std::string_view> dotted;
  for (const auto& [of, name] : columns_) {
    dotted.insert(name);
    const bool of_any_type = of_functions_.contains(of) || out_.relations.empty();
    if ((of_any_type && !named_.contains({of, name})) || takes_any_row(name)) by_dot_.insert(name);
  }
  for (const std::string_view name : dotted) out_.dotted.emplace_back(name);
  for (const std::string_view name : by_dot_) functions_.add(Function{.name = std::string(name), .by_dot = true});
  if (by_dot_.contains("set_config")) ++set_config_calls_;
}

// A type of a column being created is no cast; everywhere else a value is turned into the type.
void Walk::visit_type(const ::TypeName* type) {
  if (out_.kind != Kind::ddl && time_zone_type(dotted_name(type->names).name)) out_.time_zone_cast = true;
  visit_list(type->typmods);
}

bool Walk::hidden_by_cte(const ::RangeVar* relation) const {
  if (relation->schemaname != nullptr || ctes_.empty()) return false;
  const auto found = ctes_.find(text_or_empty(relation->relname));
  return found != ctes_.end() && found->second > 0;
}

void Walk::visit_relation(const ::RangeVar* relation) {
  if (depth_ == written_depth_) return add_written(relation);
  if (hidden_by_cte(relation)) return;
  relations_.add(text_or_empty(relation->schemaname), text_or_empty(relation->relname));
}

void Walk::add_written(const ::RangeVar* relation) {
  if (relation != nullptr) add_written(text_or_empty(relation->schemaname), text_or_empty(relation->relname));
}

void Walk::add_written(std::string_view schema, std::string_view name) {
  relations_.add(schema, name);
  written_.add(schema, name);
}

}  // namespace herdgate::sql
