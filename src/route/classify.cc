// The class of a statement: the table of the manual, nothing of the session's state.
#include <algorithm>

#include "route/route.h"

namespace herdgate::route {
namespace {

constexpr int kRowExclusive = 3;  // first lock mode that conflicts with a hot standby's rules

// Every spelling of "false" that the server takes: unique prefixes of the words, any case.
bool means_false(std::string_view value) {
  std::string lower(value);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::string_view word = lower;
  if (word.empty()) return false;
  return word == "0" || std::string_view("false").starts_with(word) || std::string_view("no").starts_with(word) ||
         (word.size() > 1 && std::string_view("off").starts_with(word));
}

bool means_serializable(std::string_view value) {
  constexpr std::string_view kWord = "serializable";
  return std::equal(value.begin(), value.end(), kWord.begin(), kWord.end(),
                    [](unsigned char a, char b) { return std::tolower(a) == b; });
}

bool sets_primary_only(const sql::Setting& setting) {
  if (setting.form != sql::SetForm::value || setting.values.empty()) return false;
  const std::string& value = setting.values.front();
  if (setting.name == "transaction_read_only") return means_false(value);
  if (setting.name == "transaction_isolation" || setting.name == "default_transaction_isolation")
    return means_serializable(value);
  return false;
}

Class class_of_set(const sql::Statement& s) {
  if (s.transaction.isolation == sql::Isolation::serializable) return Class::primary;
  if (s.transaction.read_only == false) return Class::primary;
  if (!s.transaction.snapshot.empty()) return Class::primary;
  return std::any_of(s.settings.begin(), s.settings.end(), sets_primary_only) ? Class::primary : Class::both;
}

Class class_of_select(const sql::Statement& s) {
  const bool changes = s.into || s.locking || s.writing_with_top || s.writing_with_any;
  return changes ? Class::primary : Class::either;
}

Class class_of_copy_to(const sql::Statement& s) { return s.inner ? classify(*s.inner) : class_of_select(s); }

// Without ANALYZE nothing is run, so any plan may come from a standby. With it, the statement is run.
Class class_of_explain(const sql::Statement& s) {
  if (!s.inner) return Class::primary;
  if (s.inner->kind == sql::Kind::execute) return Class::same_as_prepare;
  if (!s.explain_analyze) return Class::either;
  return s.inner->kind == sql::Kind::select ? classify(*s.inner) : Class::primary;
}

// Drivers learn from these whether they have reached a server that takes writes (JDBC's targetServerType, libpq's
// target_session_attrs): the endpoint does, whatever a standby says of itself.
bool asks_for_primary(const sql::Statement& show) {
  return show.name == "transaction_read_only" || show.name == "in_hot_standby";
}

}  // namespace

Class classify(const sql::Statement& s) {
  using sql::Kind;
  if (s.too_deep) return Class::primary;
  switch (s.kind) {
    case Kind::empty:
    case Kind::show:
      return Class::either;
    case Kind::pool_command:
      return Class::local;
    case Kind::select:
      return class_of_select(s);
    case Kind::copy_to:
      return class_of_copy_to(s);
    case Kind::explain:
      return class_of_explain(s);
    case Kind::lock:
      return s.lock_mode > 0 && s.lock_mode < kRowExclusive ? Class::both : Class::primary;
    case Kind::begin:
    case Kind::commit:
    case Kind::rollback:
    case Kind::savepoint:
    case Kind::release:
    case Kind::rollback_to:
    case Kind::reset:
    case Kind::discard:
      return Class::both;
    case Kind::set:
      return class_of_set(s);
    case Kind::prepare:
      return s.inner ? classify(*s.inner) : Class::primary;
    case Kind::execute:
      return Class::same_as_prepare;
    case Kind::deallocate:
      return s.all ? Class::all : Class::same_as_prepare;
    default:
      return Class::primary;
  }
}

bool select_like(const sql::Statement& s) {
  using sql::Kind;
  if (s.too_deep) return false;
  switch (s.kind) {
    case Kind::empty:
      return true;
    case Kind::show:
      return !asks_for_primary(s);
    case Kind::select:
    case Kind::explain:
      return classify(s) == Class::either;
    case Kind::copy_to:
      return !s.copy_file_or_program && classify(s) == Class::either;
    case Kind::prepare:
      return s.inner && select_like(*s.inner);
    default:
      return false;
  }
}

}  // namespace herdgate::route
