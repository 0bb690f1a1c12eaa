// Runs SQL scripts against a VirtualSession as a server would have them answered, and says its state in one line.
// For this module's tests only.
//
// Shape    run(session, "begin; set a = 1"): one simple query. A statement that begins with '!' fails. What
//          ReadyForQuery says afterwards follows from PostgreSQL's own rules, kept here on their own.
#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "sql/facts.h"
#include "vsession/virtual_session.h"

namespace herdgate::vsession {

class Script {
 public:
  explicit Script(VirtualSession& session) : session_(session) {}

  // One simple query; `fails_at` is the number of the statement that fails, -1 for none.
  void query(const std::string& text, int fails_at = -1, bool write = false) {
    const auto facts = std::make_shared<sql::Facts>(sql::parse_facts(text, {}));
    for (std::size_t i = 0; i < facts->statements.size(); ++i) {
      const sql::Statement& s = facts->statements[i];
      const bool ok = fails_at != static_cast<int>(i);
      follow(s, ok);
      const std::string_view part = std::string_view(text).substr(s.begin, s.length);
      session_.statement_done({.statement = s, .text = part, .tag = tag(s), .ok = ok, .write = write, .facts = facts});
      if (!ok) break;
    }
    if (status_ != TxStatus::idle && !block_) status_ = TxStatus::idle;
    session_.ready(status_);
  }
  void step(std::string_view text) {
    const bool fails = text.starts_with('!');
    const bool write = text.starts_with('*');
    query(std::string(text.substr(fails || write ? 1 : 0)), fails ? 0 : -1, write);
  }

 private:
  std::string_view tag(const sql::Statement& s) const {
    if (s.kind == sql::Kind::select) return "SELECT 1";
    if (s.kind == sql::Kind::commit) return ended_failed_ ? "ROLLBACK" : "COMMIT";
    return s.kind == sql::Kind::rollback ? "ROLLBACK" : "";
  }
  void follow(const sql::Statement& s, bool ok) {
    using sql::Kind;
    ended_failed_ = status_ == TxStatus::failed;
    const bool ends = sql::ends_transaction(s.kind);
    if (!ok && !ends) {
      status_ = block_ ? TxStatus::failed : TxStatus::idle;
    } else if (s.kind == Kind::begin) {
      block_ = true;
      status_ = TxStatus::open;
    } else if (s.kind == Kind::rollback_to) {
      status_ = TxStatus::open;
    } else if (ends) {
      block_ = ok && block_ && s.transaction.chain;
      status_ = block_ ? TxStatus::open : TxStatus::idle;
    }
  }
  VirtualSession& session_;
  TxStatus status_ = TxStatus::idle;
  bool block_ = false, ended_failed_ = false;
};

inline std::string describe(const ParameterSet& set) {
  std::string out;
  for (const Parameter& p : set.all()) out += fmt::format("{}{}={}", out.empty() ? "" : " ", p.name, p.value);
  return out;
}

inline std::string describe(const Transaction& tx) {
  static constexpr const char* kIsolation[] = {"ru", "rc", "rr", "ser"};
  std::string out(1, static_cast<char>(tx.status));
  if (tx.isolation_explicit) out += fmt::format(" iso!{}", kIsolation[static_cast<int>(tx.isolation)]);
  if (!tx.isolation_explicit && tx.isolation != sql::Isolation::read_committed)
    out += fmt::format(" iso={}", kIsolation[static_cast<int>(tx.isolation)]);
  if (tx.read_only) out += " ro";
  if (tx.read_write_explicit) out += " rw";
  if (tx.deferrable) out += " deferrable";
  if (tx.wrote) out += " wrote";
  if (tx.multi_statement_block) out += " multi";
  if (tx.snapshot_shared) out += " snapshot";
  for (const sql::Relation& relation : tx.written) out += " w:" + relation.name;
  return out;
}

inline std::string describe(const VirtualSession& session) {
  const SessionState& state = session.state();
  std::string out = describe(state.tx);
  const auto add = [&](std::string_view label, const std::string& text) {
    if (!text.empty()) out += fmt::format(" {}{{{}}}", label, text);
  };
  add("set", describe(*session.parameters()));
  if (session.parameters() != session.session_parameters()) add("stays", describe(*session.session_parameters()));
  const ParameterSetPtr link = session.link_parameters();
  if (link->fingerprint() != session.parameters()->fingerprint()) add("link", describe(*link));
  add("pins", pin_names(state.pins));
  add("temp", fmt::format("{}", fmt::join(state.temp_tables, " ")));
  std::vector<std::string> names;
  for (const auto& [name, statement] : session.prepared()) names.push_back(statement->from_sql ? name + "*" : name);
  std::sort(names.begin(), names.end());
  add("prepared", fmt::format("{}", fmt::join(names, " ")));
  if (state.role_changed) out += " role_changed";
  return out;
}

}  // namespace herdgate::vsession
