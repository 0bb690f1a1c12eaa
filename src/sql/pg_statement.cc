// What kind of statement it is and what it does to the session.
#include <array>
#include <cctype>
#include <memory>

#include "sql/pg_walk.h"

namespace herdgate::sql {
namespace {

template <class T>
const T* as(const ::Node* node) {
  return reinterpret_cast<const T*>(node);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::optional<Isolation> isolation_named(std::string_view name) {
  if (name == "serializable") return Isolation::serializable;
  if (name == "repeatable read") return Isolation::repeatable_read;
  if (name == "read committed") return Isolation::read_committed;
  if (name == "read uncommitted") return Isolation::read_uncommitted;
  return std::nullopt;
}

// PostgreSQL's rule for a boolean option: no argument means yes. What it would refuse counts as yes too.
bool option_on(const ::DefElem* option) {
  if (option->arg == nullptr) return true;
  std::string text;
  if (nodeTag(option->arg) == T_String) {
    text = lower(text_or_empty(as<::String>(option->arg)->sval));
  } else if (nodeTag(option->arg) == T_Integer) {
    text = std::to_string(as<::Integer>(option->arg)->ival);
  } else if (nodeTag(option->arg) == T_Boolean) {
    text = as<::Boolean>(option->arg)->boolval ? "true" : "false";
  } else if (const auto constant = constant_text(option->arg)) {
    text = lower(*constant);
  }
  return text != "off" && text != "false" && text != "0";
}

// The only expression of a SELECT that has nothing else, when it is a call of this function of pg_catalog.
bool is_system_function(const ::FuncCall* call, std::string_view name) {
  const Relation called = dotted_name(call->funcname);
  return called.name == name && (called.schema.empty() || called.schema == "pg_catalog");
}

// A SELECT list and nothing else: every expression is evaluated exactly once.
bool is_bare_list(const ::SelectStmt* s) {
  return s->targetList != nullptr && s->fromClause == nullptr && s->whereClause == nullptr &&
         s->groupClause == nullptr && s->havingClause == nullptr && s->limitCount == nullptr &&
         s->limitOffset == nullptr && s->withClause == nullptr && s->intoClause == nullptr && s->op == SETOP_NONE;
}

const ::FuncCall* plain_call(const void* target) {
  const ::Node* value = static_cast<const ::ResTarget*>(target)->val;
  if (value == nullptr || nodeTag(value) != T_FuncCall) return nullptr;
  const auto* call = as<::FuncCall>(value);
  return call->agg_filter == nullptr && call->over == nullptr && !call->func_variadic ? call : nullptr;
}

// A constant whose text is what a function with an argument of type text gets: another cast may change it, as
// 'today'::date::text does.
std::optional<std::string> text_argument(const ::Node* node) {
  const ::Node* inner = node;
  while (inner != nullptr && nodeTag(inner) == T_TypeCast) {
    const auto* cast = as<::TypeCast>(inner);
    const Relation type = dotted_name(cast->typeName->names);
    const bool is_text = (type.name == "text" || type.name == "varchar") && cast->typeName->typmods == nullptr &&
                         cast->typeName->arrayBounds == nullptr;
    if (!is_text) return std::nullopt;
    inner = cast->arg;
  }
  const bool bits =
      inner != nullptr && nodeTag(inner) == T_A_Const && nodeTag(&as<::A_Const>(inner)->val.node) == T_BitString;
  return bits ? std::nullopt : constant_text(inner);
}

std::optional<Setting> constant_set_config(const ::FuncCall* call) {
  if (!is_system_function(call, "set_config") || list_length(call->args) != 3) return std::nullopt;
  const auto* value = static_cast<const ::Node*>(list_nth(call->args, 1));
  const auto name = text_argument(static_cast<const ::Node*>(linitial(call->args)));
  const auto local = constant_text(static_cast<const ::Node*>(list_nth(call->args, 2)));
  const auto text = text_argument(value);
  if (!name || !local || (!text && !is_null_constant(value))) return std::nullopt;
  const std::string is_local = lower(*local);
  Setting setting;
  setting.from_set_config = true;
  setting.name = lower(*name);
  setting.local = is_local.starts_with('t') || is_local.starts_with('y') || is_local == "on" || is_local == "1";
  setting.form = text ? SetForm::value : SetForm::to_default;  // NULL means the default
  if (text) setting.values.push_back(*text);
  return setting;
}

// SELECT pg_terminate_backend(pid [, timeout]) with constants.
std::optional<int> constant_terminate(const ::FuncCall* call) {
  const int arguments = list_length(call->args);
  if (!is_system_function(call, "pg_terminate_backend") || arguments < 1 || arguments > 2) return std::nullopt;
  std::optional<int> pid;
  for (int i = arguments - 1; i >= 0; --i) {
    const auto* argument = static_cast<const ::Node*>(list_nth(call->args, i));
    if (nodeTag(argument) != T_A_Const || as<::A_Const>(argument)->isnull) return std::nullopt;
    if (nodeTag(&as<::A_Const>(argument)->val.node) != T_Integer) return std::nullopt;
    pid = as<::A_Const>(argument)->val.ival.ival;
  }
  return pid;
}

}  // namespace

void Walk::root(const ::Node* node) {
  if (node == nullptr) {
    out_.kind = Kind::empty;
    return;
  }
  if (!root_query(node) && !root_session(node) && !root_prepared(node) && !root_simple(node)) root_ddl(node);
  add_by_dot();
  out_.sets_unseen |= set_config_calls_ > out_.settings.size();
}

// Statements that read or write tables.
bool Walk::root_query(const ::Node* node) {
  switch (nodeTag(node)) {
    case T_SelectStmt:
      out_.kind = Kind::select;
      root_select(as<::SelectStmt>(node));
      break;
    case T_InsertStmt:
      out_.kind = Kind::insert;
      break;
    case T_UpdateStmt:
      out_.kind = Kind::update;
      break;
    case T_DeleteStmt:
      out_.kind = Kind::delete_;
      break;
    case T_MergeStmt:
      out_.kind = Kind::merge;
      break;
    case T_CopyStmt:
      root_copy(as<::CopyStmt>(node));
      return true;
    case T_TruncateStmt:
      out_.kind = Kind::truncate;
      written_depth_ = 2;
      break;
    case T_CallStmt:
      out_.kind = Kind::call;
      break;
    case T_DoStmt:
      out_.kind = Kind::do_block;
      break;
    case T_LockStmt:
      root_lock(as<::LockStmt>(node));
      break;
    default:
      return false;
  }
  visit(node);
  return true;
}

// Statements about transactions and the session's settings; their trees name no relations.
bool Walk::root_session(const ::Node* node) {
  switch (nodeTag(node)) {
    case T_TransactionStmt:
      root_transaction(as<::TransactionStmt>(node));
      return true;
    case T_VariableSetStmt:
      root_set(as<::VariableSetStmt>(node));
      return true;
    case T_VariableShowStmt:
      out_.kind = Kind::show;
      out_.name = lower(text_or_empty(as<::VariableShowStmt>(node)->name));
      return true;
    case T_ConstraintsSetStmt:
      out_.kind = Kind::set_constraints;
      return true;
    case T_DiscardStmt: {
      static constexpr std::array kTargets = {DiscardTarget::all, DiscardTarget::plans, DiscardTarget::sequences,
                                              DiscardTarget::temp};
      out_.kind = Kind::discard;
      out_.discard = kTargets[static_cast<std::size_t>(as<::DiscardStmt>(node)->target) % kTargets.size()];
      return true;
    }
    default:
      return false;
  }
}

// Prepared statements, cursors, EXPLAIN: what holds another statement or refers to one.
bool Walk::root_prepared(const ::Node* node) {
  switch (nodeTag(node)) {
    case T_ExplainStmt:
      root_explain(as<::ExplainStmt>(node));
      return true;
    case T_PrepareStmt:
      out_.kind = Kind::prepare;
      out_.name = text_or_empty(as<::PrepareStmt>(node)->name);
      nested(as<::PrepareStmt>(node)->query);
      return true;
    case T_ExecuteStmt:
      out_.kind = Kind::execute;
      out_.name = text_or_empty(as<::ExecuteStmt>(node)->name);
      visit(node);
      return true;
    case T_DeallocateStmt:
      out_.kind = Kind::deallocate;
      out_.name = text_or_empty(as<::DeallocateStmt>(node)->name);
      out_.all = as<::DeallocateStmt>(node)->name == nullptr;
      return true;
    case T_DeclareCursorStmt:
      out_.kind = Kind::declare_cursor;
      out_.name = text_or_empty(as<::DeclareCursorStmt>(node)->portalname);
      out_.with_hold = (as<::DeclareCursorStmt>(node)->options & CURSOR_OPT_HOLD) != 0;
      out_.binary_cursor = (as<::DeclareCursorStmt>(node)->options & CURSOR_OPT_BINARY) != 0;
      nested(as<::DeclareCursorStmt>(node)->query);
      return true;
    case T_FetchStmt:
      out_.kind = Kind::fetch;
      out_.name = text_or_empty(as<::FetchStmt>(node)->portalname);
      return true;
    case T_ClosePortalStmt:
      out_.kind = Kind::close_cursor;
      out_.name = text_or_empty(as<::ClosePortalStmt>(node)->portalname);
      out_.all = as<::ClosePortalStmt>(node)->portalname == nullptr;
      return true;
    default:
      return false;
  }
}

bool Walk::root_simple(const ::Node* node) {
  switch (nodeTag(node)) {
    case T_ListenStmt:
      out_.kind = Kind::listen;
      out_.name = text_or_empty(as<::ListenStmt>(node)->conditionname);
      return true;
    case T_UnlistenStmt:
      out_.kind = Kind::unlisten;
      out_.name = text_or_empty(as<::UnlistenStmt>(node)->conditionname);
      out_.all = as<::UnlistenStmt>(node)->conditionname == nullptr;
      return true;
    case T_NotifyStmt:
      out_.kind = Kind::notify;
      out_.name = text_or_empty(as<::NotifyStmt>(node)->conditionname);
      return true;
    case T_LoadStmt:
      out_.kind = Kind::load;
      out_.name = text_or_empty(as<::LoadStmt>(node)->filename);
      return true;
    case T_CheckPointStmt:
      out_.kind = Kind::checkpoint;
      return true;
    default:
      return false;
  }
}

void Walk::root_select(const ::SelectStmt* select) {
  ListCell* cell = nullptr;
  if (select->withClause != nullptr) {
    foreach (cell, select->withClause->ctes) {
      const ::Node* query = static_cast<const ::CommonTableExpr*>(lfirst(cell))->ctequery;
      if (nodeTag(query) != T_SelectStmt) out_.writing_with_top = true;
    }
  }
  if (!is_bare_list(select)) return;
  foreach (cell, select->targetList) {
    const ::FuncCall* call = plain_call(lfirst(cell));
    if (call == nullptr) continue;
    if (auto setting = constant_set_config(call)) out_.settings.push_back(std::move(*setting));
    if (list_length(select->targetList) == 1) out_.terminate_pid = constant_terminate(call);
  }
}

void Walk::root_transaction(const ::TransactionStmt* statement) {
  static constexpr std::array kKinds = {Kind::begin,           Kind::begin,
                                        Kind::commit,          Kind::rollback,
                                        Kind::savepoint,       Kind::release,
                                        Kind::rollback_to,     Kind::prepare_transaction,
                                        Kind::commit_prepared, Kind::rollback_prepared};
  out_.kind = kKinds[static_cast<std::size_t>(statement->kind) % kKinds.size()];
  out_.name = text_or_empty(statement->savepoint_name != nullptr ? statement->savepoint_name : statement->gid);
  out_.transaction.chain = statement->chain;
  transaction_options(statement->options);
}

void Walk::transaction_options(const ::List* options) {
  ListCell* cell = nullptr;
  foreach (cell, options) {
    const auto* option = static_cast<const ::DefElem*>(lfirst(cell));
    const std::string_view name = text_or_empty(option->defname);
    const std::string value = constant_text(option->arg).value_or("");
    if (name == "transaction_isolation") out_.transaction.isolation = isolation_named(value);
    if (name == "transaction_read_only") out_.transaction.read_only = value == "1";
    if (name == "transaction_deferrable") out_.transaction.deferrable = value == "1";
  }
}

void Walk::root_set(const ::VariableSetStmt* set) {
  Setting setting;
  setting.local = set->is_local;
  setting.name = lower(text_or_empty(set->name));
  out_.kind = set->kind == VAR_RESET || set->kind == VAR_RESET_ALL ? Kind::reset : Kind::set;
  switch (set->kind) {
    case VAR_SET_VALUE:
      break;
    case VAR_SET_DEFAULT:
    case VAR_RESET:
      setting.form = SetForm::to_default;
      break;
    case VAR_SET_CURRENT:
      setting.form = SetForm::from_current;
      break;
    case VAR_RESET_ALL:
      setting.form = SetForm::reset_all;
      break;
    case VAR_SET_MULTI:
      setting.form =
          setting.name == "session characteristics" ? SetForm::session_characteristics : SetForm::transaction;
      break;
  }
  ListCell* cell = nullptr;
  if (setting.name == "transaction snapshot" && set->args != nullptr) {
    out_.transaction.snapshot = constant_text(static_cast<const ::Node*>(linitial(set->args))).value_or("");
  } else if (set->kind == VAR_SET_MULTI) {
    transaction_options(set->args);
  } else {
    foreach (cell, set->args) {
      visit(lfirst(cell));
      setting.values.push_back(constant_text(static_cast<const ::Node*>(lfirst(cell))).value_or(""));
    }
  }
  if (set->kind == VAR_SET_MULTI) setting.name.clear();
  out_.settings.push_back(std::move(setting));
}

void Walk::root_copy(const ::CopyStmt* copy) {
  out_.kind = copy->is_from ? Kind::copy_from : Kind::copy_to;
  out_.copy_file_or_program = copy->filename != nullptr || copy->is_program;
  if (copy->query != nullptr) nested(copy->query);
  if (copy->is_from) add_written(copy->relation);
  visit(copy->relation);
  visit(copy->whereClause);
}

void Walk::root_explain(const ::ExplainStmt* explain) {
  out_.kind = Kind::explain;
  ListCell* cell = nullptr;
  foreach (cell, explain->options) {
    const auto* option = static_cast<const ::DefElem*>(lfirst(cell));
    if (lower(text_or_empty(option->defname)) == "analyze") out_.explain_analyze = option_on(option);
  }
  nested(explain->query);
}

void Walk::root_lock(const ::LockStmt* lock) {
  out_.kind = Kind::lock;
  out_.lock_mode = lock->mode;
}

// The statement inside another: read on its own, then what it touches counts for the outer one too.
void Walk::nested(const ::Node* query) {
  out_.inner = std::make_unique<Statement>();
  out_.inner->begin = out_.begin;
  out_.inner->length = out_.length;
  Walk(*out_.inner).root(query);
  absorb(*out_.inner);
}

void Walk::absorb(const Statement& inner) {
  for (const Relation& relation : inner.relations) relations_.add(relation);
  for (const Relation& relation : inner.written) written_.add(relation);
  for (const Function& function : inner.functions) functions_.add(function);
  out_.into |= inner.into;
  out_.locking |= inner.locking;
  out_.writing_with_top |= inner.writing_with_top;
  out_.writing_with_any |= inner.writing_with_any;
  out_.tablesample |= inner.tablesample;
  out_.current_time |= inner.current_time;
  out_.current_user_like |= inner.current_user_like;
  out_.time_zone_cast |= inner.time_zone_cast;
  out_.dotted.insert(out_.dotted.end(), inner.dotted.begin(), inner.dotted.end());
  out_.has_parameters |= inner.has_parameters;
  out_.sets_unseen |= inner.sets_unseen || (inner.kind == Kind::select && !inner.settings.empty());
  out_.too_deep |= inner.too_deep;
  // EXPLAIN ANALYZE runs the statement; PREPARE and plain EXPLAIN create nothing.
  out_.creates_temp |= inner.creates_temp && out_.explain_analyze;
  out_.temp_until_commit |= inner.temp_until_commit && out_.explain_analyze;
}

}  // namespace herdgate::sql
