// Where a statement goes and why. Pure: values in, a Plan out.
//
// Shape    questions(facts) says what must be asked of the catalog; decide(...) gives the plan. The same inputs always
//          give the same plan: chance comes in as `draw` in [0,1).
// Limits   none of its own; works on Facts that are bounded by the parser.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "Load Balancing", "disable_load_balance_on_write", and docs/compat.md for differences.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "cluster/view.h"
#include "config/settings.h"
#include "sql/answers.h"
#include "sql/facts.h"
#include "vsession/state.h"

namespace herdgate::route {

// What decide() would look at under these settings. `prepared`: as in Input. Cheap; asked before every statement.
struct Needs {
  bool relations = false, functions = false;
  bool calls = false;  // with the relations: the functions that views call, for the function lists
  bool any() const { return relations || functions; }
};
Needs needs(const sql::Facts& facts, const vsession::SessionState& state, const config::Settings& settings,
            const sql::Statement* prepared = nullptr);
// The same as names to ask for: all relations of all statements in order, then those of `prepared`; or none at all.
// Functions likewise. decide() expects the answers in this order; answers that are missing count as the worst case.
sql::Questions questions(const sql::Facts& facts, const vsession::SessionState& state, const config::Settings& settings,
                         const sql::Statement* prepared = nullptr);

// Class of a statement in streaming mode (Pgpool-II manual's table).
enum class Class : std::uint8_t { primary, either, both, local, same_as_prepare, all };
std::string_view class_name(Class cls);
Class classify(const sql::Statement& statement);
bool select_like(const sql::Statement& statement);

// Why a node was chosen. The names are fixed: EXPLAIN ROUTE, tests and docs print them. One table in rule_table.cc
// gives name and sentence.
enum class Rule : std::uint8_t {
  raw_mode,
  single_node,
  no_live_node,
  pinned,
  unparsable,
  too_deep,
  multi_statement,
  multi_statement_block,
  class_primary,
  class_both,
  transaction_node,
  snapshot_shared,
  wrote_always,
  load_balance_off,
  not_select_like,
  comment_blocks,
  transaction_wrote,
  transaction_failed,
  serializable,
  system_catalog,
  temporary_table,
  unlogged_table,
  primary_pattern,
  writing_function,
  dml_adaptive,
  delay_too_large,
  lower_delay_standby,
  load_balance,
  redirect,
  follows_prepare,
  unknown_prepare,
  local_command,
  cut_unit,
  primary_down,
  process_node,  // not by decide(): which process is where the session knows
};
inline constexpr int kRules = static_cast<int>(Rule::process_node) + 1;
std::string_view rule_name(Rule rule);
std::string_view rule_sentence(Rule rule);

struct Plan {
  NodeId node = kNoNode;  // where it is sent; kNoNode with rule local_command or no_live_node
  bool write = false;     // may change the database (sets the writing flag when it succeeds)
  bool both = false;      // class BOTH: takes effect on every link the session has (replayed lazily)
  bool stays = false;     // … but is done on this node alone, as a savepoint or a lock: a unit goes where that is
  bool idless = false;    // a write that needs neither a snapshot nor a transaction id: SET TRANSACTION, LOCK, LISTEN
  bool opaque = false;    // may leave unknown session state on the link: reset before another session gets it
  // What names mean there may be another thing behind it. As `opaque`, but for functions that nobody asked about where
  // nobody wants to know: with links that are not shared, without the query cache.
  bool unseen = false;
  bool rerunnable = false;  // an autocommit read without volatile functions: may be run again elsewhere
  Rule rule = Rule::class_primary;
  std::string detail;  // "relation public.accounts", "function nextval": empty on the hot path if not needed
};

// The session's load balance node, chosen at its start and anew as Input says.
struct LbInput {
  const cluster::View& view;
  const config::Settings& settings;
  std::string_view user, database, application_name;
  double draw = 0, draw2 = 0;  // two draws: redirect ratio, weighted choice
  NodeId avoid = kNoNode;      // in doubt at the moment: only when there is no other
};
struct LbChoice {
  NodeId node = kNoNode;
  Rule rule = Rule::load_balance;
  std::string detail;  // which list entry or weight decided
};
LbChoice choose_lb_node(const LbInput& input);
// Everything decide() looks at. `prepared` finds the facts of a prepared statement for EXECUTE (SQL or protocol).
struct Input {
  const sql::Facts& facts;
  const vsession::SessionState& state;
  const sql::Answers& answers;
  const cluster::View& view;
  const config::Settings& settings;
  bool allow_sql_comments = false, check_unlogged_table = true;  // session overrides of the settings
  double draw = 0;                                               // for ties among standbys (prefer_lower_delay_standby)
  std::string_view text;                                         // for patterns; of an EXECUTE: the text of its PREPARE
  // What EXECUTE name refers to: PREPARE or the statement inside it; null = unknown.
  const sql::Statement* prepared = nullptr;
  // The reads' node is state.lb_node. The session chooses it: at its start, when it is no longer live and, with
  // statement_level_load_balance, before each statement outside a transaction. lb_choice tells how it was chosen, for
  // the plan's rule and detail. Only when lb_node is not live does decide() choose by itself, with draw and draw2.
  const LbChoice* lb_choice = nullptr;
  double draw2 = 0;  // as in LbInput, as the next three
  std::string_view user, database, application_name;
  bool cut_unit = false;  // part of an extended-protocol unit that had to be cut before its Sync
};
Plan decide(const Input& input);

// State of the session hangs on one link, and its reads must go there too. Where all links are the session's own
// (session mode), only what a read may need without saying so binds it: not LISTEN, locks and cursors.
bool pins_reads(const vsession::SessionState& state, const config::Settings& settings);

// True when the node may not be used for reads now, by delay_threshold or delay_threshold_by_time.
bool too_late(const cluster::Node& node, const config::Settings& settings);
// prefer_lower_delay_standby: the live standby with a weight that lags least; kNoNode when all are too late.
NodeId least_delayed_standby(const cluster::View& view, const config::Settings& settings, double draw);

// dml_adaptive: what a statement that succeeded inside a transaction adds to Transaction::written: the relations it
// names unless it only reads, and what dml_adaptive_object_relationship_list makes depend on them or on its functions.
std::vector<sql::Relation> adaptive_written(const sql::Facts& facts, const config::Settings& settings,
                                            const sql::Statement* prepared = nullptr);

}  // namespace herdgate::route
