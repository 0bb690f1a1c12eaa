// The virtual session: everything a server would remember of a client, kept on our side. Pure.
//
// Shape    The session module tells it what was asked and what came of it (begin_statement/finish_statement); it keeps
//          SessionState, the parameters, the prepared statements and the pins, and says what a server link that was
//          used by others must be told (replay) before it may work for this session.
// Limits   kMaxParameters, kMaxPrepared, kMaxSavepoints; beyond them a session is pinned (Pin::unparsed_state) or gets
//          an error, never silently wrong.
// Errors   Errc::too_many_prepared, …
// Threads  one session, one thread. ParameterSets are immutable and shared with the links that hold them.
// Source   PostgreSQL manual: SET, SAVEPOINT, PREPARE, DISCARD; ARCHITECTURE.md section 1.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "sql/facts.h"
#include "vsession/state.h"

namespace herdgate::vsession {

// One parameter as the session set it: the SQL that sets it again on any link ("SET \"DateStyle\" TO 'ISO'").
struct Parameter {
  std::string name;   // lower case, as pg_settings' name compared without case
  std::string sql;    // a whole SET statement for the session level
  bool operator==(const Parameter&) const = default;
};

// Sorted by name, immutable; equal sets have equal fingerprints, so the common check-out compares 16 octets.
class ParameterSet {
 public:
  ParameterSet() = default;
  explicit ParameterSet(std::vector<Parameter> sorted);
  const std::vector<Parameter>& all() const { return all_; }
  const Hash128& fingerprint() const { return fingerprint_; }
  const Parameter* find(std::string_view name) const;

 private:
  std::vector<Parameter> all_;
  Hash128 fingerprint_;
};
using ParameterSetPtr = std::shared_ptr<const ParameterSet>;

// What brings a link from the set it holds to the set a session wants.
struct Replay {
  std::vector<std::string> acknowledged;  // must succeed before anything else is sent: role, session_authorization,
                                          // search_path, row_security, dotted names
  std::vector<std::string> ahead;         // sent in the same write as the request
  bool empty() const { return acknowledged.empty() && ahead.empty(); }
};
Replay replay(const ParameterSet& link, const ParameterSet& session);
bool must_be_acknowledged(std::string_view parameter_name);

// A prepared statement of the session. `server_name` is the interned name that all sessions share; an SQL-level one
// (PREPARE name AS …) exists on links under the client's own name instead.
struct PreparedStatement {
  std::string name;                // the client's; "" = unnamed
  std::string query;               // text of Parse, or of the whole PREPARE statement
  Bytes types;                     // as in Parse: count and OIDs
  std::shared_ptr<const sql::Facts> facts;
  bool from_sql = false;
  Hash128 id;                      // keyed hash of text, types, client_encoding, standard_conforming_strings
  std::string server_name;         // "hg_" + hex(id); for from_sql and unnamed: the client's name
  std::uint64_t generation = 0;    // different for every definition of the unnamed statement
};
using PreparedPtr = std::shared_ptr<const PreparedStatement>;

class VirtualSession {
 public:
  static constexpr std::size_t kMaxParameters = 500, kMaxPrepared = 10'000, kMaxSavepoints = 10'000;

  // startup: parameters of the startup packet that a SET can give (options -c included), already as name and value.
  explicit VirtualSession(const HashKey& key);
  Result<Done> set_startup_parameters(const std::vector<std::pair<std::string, std::string>>& startup);

  const SessionState& state() const { return state_; }
  SessionState& state() { return state_; }   // the session module sets lb_node, tx_node, standby_link_in_tx

  // A statement that the server has finished: `text` is the slice of this statement, `tag` its CommandComplete tag,
  // `ok` false when it failed. Transaction control, SET, PREPARE, pins and written relations follow from it.
  // `where_written` = routing said it is a write (sets the writing flag as disable_load_balance_on_write demands).
  struct Outcome {
    const sql::Statement& statement;
    std::string_view text, tag;
    bool ok = true, write = false;
  };
  void statement_done(const Outcome& outcome);
  // ReadyForQuery's status is the truth: corrects the transaction state (an implicit transaction ended, COMMIT of a
  // failed one became ROLLBACK, text that could not be parsed changed it).
  void ready(TxStatus status);
  // The server said so without being asked by a SET that we understood (ParameterStatus): pins nothing, informs replay.
  void parameter_reported(std::string_view name, std::string_view value);
  // The link of the open transaction is gone: parameters fall back, state becomes idle or failed.
  void transaction_lost(bool stay_failed);

  // Session-level parameters as they are now (SET LOCAL included while the transaction lasts).
  const ParameterSetPtr& parameters() const { return current_; }
  // What this session itself asked for at start: RESET and DISCARD ALL go back to it.
  const ParameterSetPtr& startup_parameters() const { return startup_; }
  std::string_view parameter_value(std::string_view name) const;  // first constant of a SET, "" if unknown
  const std::string& search_path_key() const;                     // for the catalog's Viewpoint; changes when it is set
  const std::string& role_key() const;
  bool standard_conforming_strings() const;
  bool ascii_safe_encoding() const;    // client_encoding is one whose second octets cannot be quotes

  // Prepared statements.
  Result<PreparedPtr> define(std::string_view name, std::string_view query, ByteView types,
                             std::shared_ptr<const sql::Facts> facts);            // Parse
  PreparedPtr find_prepared(std::string_view name) const;
  void close_prepared(std::string_view name);                                     // Close 'S'
  const std::unordered_map<std::string, PreparedPtr>& prepared() const { return prepared_; }

  void add_pin(Pin pin);
  void clear_pins();     // DISCARD ALL, end of session

 private:
  struct Level;          // parameters at the start of the transaction or a savepoint
  HashKey key_;
  SessionState state_;
  ParameterSetPtr startup_, current_;
  ParameterSetPtr after_commit_;   // without SET LOCAL
  std::vector<Level> levels_;
  std::unordered_map<std::string, PreparedPtr> prepared_;
  std::uint64_t generation_ = 0;
  std::string search_path_key_, role_key_;
};

// Parses startup option `options` ("-c a=b --c=d", backslash escapes) into name and value pairs; nullopt: refuse it.
std::optional<std::vector<std::pair<std::string, std::string>>> parse_startup_options(std::string_view options);

}  // namespace herdgate::vsession
