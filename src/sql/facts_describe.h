// A Statement in one line of text, for golden files: only what differs from a plain Statement is named.
#pragma once
#include <fmt/format.h>

#include <string>
#include <vector>

#include "sql/facts.h"

namespace herdgate::sql {

namespace describe_detail {

template <class Name>
std::string dotted(const Name& n) {
  if constexpr (requires { n.by_dot; }) {
    if (n.by_dot) return "(x)." + n.name;
  }
  return n.schema.empty() ? n.name : n.schema + "." + n.name;
}

template <class Name>
void add_names(std::string& out, std::string_view label, const std::vector<Name>& names) {
  for (std::size_t i = 0; i < names.size(); ++i) out += (i == 0 ? fmt::format(" {}=", label) : ",") + dotted(names[i]);
}

inline std::string_view form_name(SetForm form) {
  static constexpr std::string_view kNames[] = {
      "value", "to_default", "from_current", "transaction", "session_characteristics", "reset_all"};
  return kNames[static_cast<std::size_t>(form)];
}

inline std::string setting_text(const Setting& s) {
  std::string out = fmt::format(" setting({}", form_name(s.form));
  if (s.local) out += " local";
  if (s.from_set_config) out += " set_config";
  if (!s.name.empty()) out += " " + s.name;
  for (const std::string& v : s.values) out += fmt::format(" '{}'", v);
  return out + ")";
}

inline std::string transaction_text(const TransactionOptions& t) {
  static constexpr std::string_view kIsolation[] = {"read_uncommitted", "read_committed", "repeatable_read",
                                                    "serializable"};
  std::string out;
  if (t.isolation) out += fmt::format(" isolation={}", kIsolation[static_cast<std::size_t>(*t.isolation)]);
  if (t.read_only) out += *t.read_only ? " read_only" : " read_write";
  if (t.deferrable) out += *t.deferrable ? " deferrable" : " not_deferrable";
  if (!t.snapshot.empty()) out += " snapshot=" + t.snapshot;
  if (t.chain) out += " chain";
  return out;
}

inline std::string flags_text(const Statement& s) {
  const std::pair<bool, const char*> flags[] = {
      {s.into, "into"},
      {s.locking, "locking"},
      {s.writing_with_top, "writing_with_top"},
      {s.writing_with_any, "writing_with_any"},
      {s.tablesample, "tablesample"},
      {s.current_time, "current_time"},
      {s.current_user_like, "current_user_like"},
      {s.time_zone_cast, "time_zone_cast"},
      {s.locks_shown, "locks_shown"},
      {s.creates_temp, "creates_temp"},
      {s.temp_until_commit, "temp_until_commit"},
      {s.drops_table, "drops_table"},
      {s.has_parameters, "has_parameters"},
      {s.sets_unseen, "sets_unseen"},
      {s.too_deep, "too_deep"},
      {s.leaves_nothing, "leaves_nothing"},
      {s.all, "all"},
      {s.with_hold, "with_hold"},
      {s.binary_cursor, "binary_cursor"},
      {s.copy_file_or_program, "copy_file_or_program"},
      {s.explain_analyze, "explain_analyze"},
      {s.role_login_only, "role_login_only"},
      {s.grants_role, "grants_role"},
  };
  std::string out;
  for (const auto& [on, name] : flags) {
    if (on) out += fmt::format(" {}", name);
  }
  return out;
}

}  // namespace describe_detail

inline std::string describe(const Statement& s) {
  namespace d = describe_detail;
  static constexpr std::string_view kDiscard[] = {"all", "plans", "sequences", "temp"};
  std::string out(kind_name(s.kind));
  if (!s.ddl_tag.empty()) out += fmt::format(" \"{}\"", s.ddl_tag);
  if (!s.name.empty()) out += " name=" + s.name;
  for (const std::string& word : s.pool_words) out += fmt::format(" [{}]", word);
  if (s.kind == Kind::discard) out += fmt::format(" {}", kDiscard[static_cast<std::size_t>(s.discard)]);
  if (s.lock_mode != 0) out += fmt::format(" lock_mode={}", s.lock_mode);
  d::add_names(out, "rel", s.relations);
  d::add_names(out, "written", s.written);
  d::add_names(out, "fn", s.functions);
  for (std::size_t i = 0; i < s.dotted.size(); ++i) out += (i == 0 ? " dotted=" : ",") + s.dotted[i];
  out += d::flags_text(s);
  out += d::transaction_text(s.transaction);
  for (const Setting& setting : s.settings) out += d::setting_text(setting);
  if (s.terminate_pid) out += fmt::format(" terminate={}", *s.terminate_pid);
  if (s.inner) out += " {" + describe(*s.inner) + "}";
  return out;
}

}  // namespace herdgate::sql
