// What running a text may change, as far as cached answers are concerned. Pure.
//
// Shape    effects_of(facts, answers, prepared) gives a Scope: tables by oid, or the database where they cannot be
//          seen, or everything. Transaction control is told beside it; when the changes count is the session's
//          business.
// Errors   names without an answer widen the scope, never narrow it.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "In Memory Query Cache"; what it does not notice and we do: docs/compat.md.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "sql/answers.h"

namespace herdgate::cache {

struct Scope {
  std::vector<std::uint32_t> tables;
  bool database = false;    // any table of this database
  bool everything = false;  // of any database
  bool empty() const { return tables.empty() && !database && !everything; }
  void add(const Scope& other);
  Scope beyond(const Scope& other) const;  // what of it the other one does not cover
  bool operator==(const Scope&) const = default;
};

struct Effects {
  Scope scope;
  bool ends_transaction = false;  // COMMIT, PREPARE TRANSACTION, ROLLBACK: what was done before may count now
  bool unknown_state = false;     // may have changed what the session sees without our seeing it
  bool defines = false;           // names may mean other tables for everybody when it is committed
  bool renames = false;  // a name without a schema may mean something else behind it: search_path, role, DISCARD ALL …
  bool heeds = false;    // that it changes nothing more hangs on what functions and event triggers there are
  bool fires = false;    // it runs event triggers, where there are any, and changes nothing else that matters
  bool takes_back = false;  // COMMIT, ROLLBACK (TO): so it may, where the transaction has set something
  bool by_name = false;     // the scope hangs on what such a name means
  std::string_view prepares, commits_prepared, rolls_back_prepared;  // gid; a view into the facts
  // Nothing of it but what it heeds.
  bool none() const {
    return scope.empty() && !ends_transaction && !unknown_state && !defines && !fires && !renames && !takes_back &&
           prepares.empty() && commits_prepared.empty() && rolls_back_prepared.empty();
  }
};

// A part of the text sets Effects::fires: then it is of interest whether there are event triggers.
bool may_fire(const sql::Facts& facts);

// `answers` of all relations and functions of the text's statements in order, then those of `prepared`, which is what
// EXECUTE runs (null: not known).
Effects effects_of(const sql::Facts& facts, const sql::Answers& answers, const sql::Statement* prepared = nullptr);

}  // namespace herdgate::cache
