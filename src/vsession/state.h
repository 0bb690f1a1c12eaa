// What the virtual session remembers and the router asks: transaction state, what was written, pins.
//
// Shape    SessionState is plain data, changed only through VirtualSession (virtual_session.h).
// Threads  one session, one thread.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "sql/facts.h"

namespace herdgate::vsession {

// As in ReadyForQuery.
enum class TxStatus : char { idle = 'I', open = 'T', failed = 'E' };

// Why a session cannot leave its server link. A set of bits; each has a name that SHOW POOL_POOLS prints.
enum class Pin : std::uint16_t {
  temporary_table = 1,
  listen = 2,
  advisory_lock = 4,
  with_hold_cursor = 8,
  load = 16,
  unparsed_state = 32,
};
std::string pin_names(std::uint16_t pins);  // "temporary_table, listen"; empty when there is none

struct Transaction {
  TxStatus status = TxStatus::idle;
  bool explicit_block = false;         // opened by BEGIN (not the implicit transaction of a batch)
  bool multi_statement_block = false;  // BEGIN came inside multi-statement text: primary only until it ends
  bool wrote = false;                  // the writing flag of "disable_load_balance_on_write"
  bool snapshot_shared = false;        // SET TRANSACTION SNAPSHOT or pg_export_snapshot was used: primary only
  sql::Isolation isolation = sql::Isolation::read_committed;
  bool isolation_explicit = false;
  bool read_only = false;
  bool read_write_explicit = false;
  bool deferrable = false;
  std::vector<sql::Relation> written;  // dml_adaptive: relations written (and their dependents) in this transaction
  bool written_overflow = false;       // more than kMaxWritten: treat every read as touching a written table
};
inline constexpr std::size_t kMaxWritten = 256;

struct SessionState {
  Transaction tx;
  bool wrote_in_session = false;      // for `always`: a write succeeded, in or outside of a transaction
  bool wrote_in_transaction = false;  // for `trans_transaction`: … in one that was begun
  sql::Isolation default_isolation = sql::Isolation::read_committed;
  bool default_read_only = false;
  std::uint16_t pins = 0;
  bool has(Pin pin) const { return (pins & static_cast<std::uint16_t>(pin)) != 0; }
  std::vector<std::string> temp_tables;  // check_temp_table = trace: names created and not dropped
  bool role_changed = false;             // SET ROLE / SESSION AUTHORIZATION happened in this session (cache rule)
  // Something may have been set on a link of it that nobody saw: what names mean there is not known. The session module
  // says so before each plan.
  bool unseen = false;
  NodeId lb_node = kNoNode;  // the session's load balance node
  NodeId tx_node = kNoNode;  // REPEATABLE READ and up: the node of the first statement; all follow
};

// BEGIN, for a session that is in no transaction.
void begin_transaction(SessionState& state);
void apply_options(Transaction& tx, const sql::TransactionOptions& options);
// The options of BEGIN, and what SET TRANSACTION and SET transaction_isolation and its like say.
void apply_options(Transaction& tx, const sql::Statement& statement);
bool sets_options(const sql::Statement& statement);

}  // namespace herdgate::vsession
