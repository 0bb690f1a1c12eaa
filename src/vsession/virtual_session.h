// The virtual session: everything a server would remember of a client, kept on our side. Pure.
//
// Shape    The session module tells it what was asked and what came of it (statement_done(), ready()); it keeps
//          SessionState, the parameters, the prepared statements and the pins, and says what a server link that was
//          used by others must be told (replay) before it may work for this session.
// Limits   kMaxParameters, kMaxPrepared, kMaxSavepoints; beyond them a session is pinned (Pin::unparsed_state) or gets
//          an error, never silently wrong.
// Errors   Errc::duplicate_prepared (a server would answer 42P05), too_many_prepared, too_many_parameters,
//          bad_parameter_name.
// Threads  one session, one thread. ParameterSets are immutable and shared with the links that hold them.
// Source   PostgreSQL manual: SET, SAVEPOINT, PREPARE, DISCARD; ARCHITECTURE.md section 1.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/result.h"
#include "sql/facts.h"
#include "vsession/errc.h"
#include "vsession/state.h"

namespace herdgate::vsession {

// One parameter as the session set it: the SQL that sets it again on any link ("SET \"DateStyle\" TO 'ISO'").
struct Parameter {
  std::string name;         // lower case, as pg_settings' name compared without case
  std::string sql;          // a whole statement that sets it for the session: SET, or SELECT set_config()
  std::string value;        // the first constant of it; of DateStyle the whole
  bool under_role = false;  // set while another role was in force, whose rights it may have needed
  bool operator==(const Parameter&) const = default;
};

// Sorted by name, immutable; equal sets have equal fingerprints, so the common check-out compares 16 octets.
class ParameterSet {
 public:
  ParameterSet() = default;
  explicit ParameterSet(std::vector<Parameter> sorted, const HashKey& key = {});
  const std::vector<Parameter>& all() const { return all_; }
  const Hash128& fingerprint() const { return fingerprint_; }
  const Parameter* find(std::string_view name) const;
  // One of them is of those that a virtual session itself looks at, see parameter_set.cc.
  bool notable() const { return notable_; }

 private:
  std::vector<Parameter> all_;
  Hash128 fingerprint_;
  bool notable_ = false;
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

// What a statement's text and the constants in it are read by when it is prepared or planned: names of parameters.
inline constexpr std::string_view kReadConstants[] = {"datestyle",
                                                      "timezone",
                                                      "intervalstyle",
                                                      "lc_monetary",
                                                      "xmloption",
                                                      "array_nulls",
                                                      "bytea_output",
                                                      "extra_float_digits",
                                                      "transform_null_equals",
                                                      "quote_all_identifiers",
                                                      "timezone_abbreviations"};
// Where they have the same of these, a plan made under one serves the other.
bool same_constants(const ParameterSet& one, const ParameterSet& other);
inline constexpr std::string_view kReadText[] = {"client_encoding", "standard_conforming_strings"};
// SQL before and after preparing a statement on a link that holds `now`, so that it is read as under `then`.
struct ReadAs {
  std::vector<std::string> before, after;
};
ReadAs read_as(const ParameterSet& then, const ParameterSet& now, bool in_transaction);

// What a server has described a statement as: whoever was told sends parameters and takes rows accordingly.
struct Described {
  Bytes parameters;  // as in Parse: count and OIDs
  Hash128 columns;   // their names, types and modifiers; zero: no rows
  bool operator==(const Described& other) const { return columns == other.columns && parameters == other.parameters; }
};
using DescribedPtr = std::shared_ptr<const Described>;

// A prepared statement of the session. `server_name` is the interned name that all sessions share; an SQL-level one
// (PREPARE name AS …) exists on links under the client's own name instead.
struct PreparedStatement {
  std::string name;                         // the client's; "" = unnamed
  std::string query;                        // text of Parse, or of the whole PREPARE statement
  Bytes types;                              // as in Parse: count and OIDs
  std::shared_ptr<const sql::Facts> facts;  // from_sql: of what it runs
  bool from_sql = false;
  Hash128 read_by;               // VirtualSession::reading() when it was defined
  ParameterSetPtr read_under;    // parameters() then
  std::uint64_t results = 0;     // of catalog::Epochs then
  Hash128 id;                    // keyed hash of text, types, read_by and results
  std::string server_name;       // "hg_" + hex(id); for from_sql and unnamed: the client's name
  std::uint64_t generation = 0;  // different for every definition
  bool names_prepared = false;   // sql::Statement::names_prepared
  // What the session was first told, or would have been. Null: not known yet, or of no consequence.
  mutable DescribedPtr described{};
};
using PreparedPtr = std::shared_ptr<const PreparedStatement>;
struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
};
using PreparedByName = std::unordered_map<std::string, PreparedPtr, NameHash, std::equal_to<>>;

class VirtualSession {
 public:
  static constexpr std::size_t kMaxParameters = 500, kMaxPrepared = 10'000, kMaxSavepoints = 10'000;
  static constexpr std::uint64_t kUntilNow = ~std::uint64_t{0};  // whatever its generation
  static constexpr std::size_t kMaxTempTables = 1'000, kMaxHoldCursors = 1'000;

  explicit VirtualSession(const HashKey& key);
  ~VirtualSession();
  VirtualSession(const VirtualSession&) = delete;
  VirtualSession& operator=(const VirtualSession&) = delete;
  // Of the startup packet, those that a SET can give (options -c included), already as name and value.
  Result<Done> set_startup_parameters(const std::vector<std::pair<std::string, std::string>>& startup);

  const SessionState& state() const { return state_; }
  // What the session module knows of it.
  void read_from(NodeId node) { state_.lb_node = node; }
  void stay_on(NodeId node) { state_.tx_node = node; }  // until the transaction ends
  void set_unseen(bool unseen) { state_.unseen = unseen; }

  // A statement that the server has finished: `text` is the slice of this statement, `tag` its CommandComplete tag,
  // `ok` false when it failed. Transaction control, SET, PREPARE, pins and written relations follow from it.
  // `write`: routing said it is one (sets the writing flag as disable_load_balance_on_write demands).
  struct Outcome {
    const sql::Statement& statement;
    std::string_view text, tag;
    bool ok = true, write = false;
    bool remember_names = true;  // of the relations written; false: nobody asks for them (dml_adaptive is not set)
    // Of the whole text this statement is part of, when at hand: PREPARE keeps them, BEGIN asks whether it came alone.
    std::shared_ptr<const sql::Facts> facts = {};
    std::uint64_t until = kUntilNow;  // DEALLOCATE, DISCARD ALL: what has been defined since stays
  };
  void statement_done(const Outcome& outcome);
  // The same for one that succeeded and is sql::Statement::only_rows().
  void rows_done(bool write);
  // dml_adaptive: more relations that count as written in this transaction (dependents named by the configuration).
  void note_written(const std::vector<sql::Relation>& relations);
  // ReadyForQuery's status is the truth: corrects the transaction state (an implicit transaction ended, COMMIT of a
  // failed one became ROLLBACK, text that could not be parsed changed it).
  void ready(TxStatus status);
  // The server said so without being asked by a SET that we understood (ParameterStatus): pins nothing, informs replay.
  // Of default_transaction_isolation and search_path no server says so by itself: logins ask. Empty: not known.
  void parameter_reported(std::string_view name, std::string_view value);
  // The same within a request: at its end the session has it, whoever set it (a function may have), as by SET.
  void parameter_heard(std::string_view name, std::string_view value);
  // Whether a login's value differs from what a virtual session takes for granted until it hears of another one.
  static bool must_be_told(std::string_view name, std::string_view value);
  // The link of the open transaction is gone, or the commit of an implicit one failed (an error that answers Sync):
  // parameters fall back, state becomes idle or failed.
  void transaction_lost(bool stay_failed);

  // Session-level parameters as they are now (SET LOCAL included while the transaction lasts).
  const ParameterSetPtr& parameters() const { return current_; }
  // The same without SET LOCAL: what every link of the transaction has after COMMIT.
  const ParameterSetPtr& session_parameters() const { return after_commit_; }
  // As they were when the open transaction began, else as they are now: what a link must have before BEGIN is sent to
  // it, so that a rollback takes it back to what the session has then.
  const ParameterSetPtr& base_parameters() const;
  // base_parameters() without what these statements set anew, whatever it was. Null when they do anything else, or when
  // it is the same.
  ParameterSetPtr base_without(const std::vector<sql::Statement>& statements) const;
  // What has been set in the open transaction, SET LOCAL included: to be sent behind BEGIN to a link that joins it.
  std::vector<std::string> transaction_settings() const;
  bool has_savepoint(std::string_view name) const;
  // What the link holds that ran the statements since the last ready(): parameters() but for names that a RESET took
  // back to the login's value there, while the session has one of its own from its start.
  ParameterSetPtr link_parameters() const;
  // … into `link`, which mostly has it already: then nothing is counted up and down.
  void tell_link(ParameterSetPtr& link) const {
    if (!resets_.empty()) {
      link = link_parameters();
    } else if (link != current_) {
      link = current_;
    }
  }
  // What this session itself asked for at start: RESET and DISCARD ALL go back to it.
  const ParameterSetPtr& startup_parameters() const { return startup_; }
  // The same, where another session has made this set of the same words.
  void start_with(ParameterSetPtr same);
  // `same` equals startup_parameters() and is other sessions' already: it is kept once for all of them.
  void share_startup(ParameterSetPtr same);
  std::string_view parameter_value(std::string_view name) const;  // first constant of a SET, "" if unknown
  const std::string& search_path_key() const;                     // for the catalog's Viewpoint; changes when it is set
  const std::string& role_key() const;
  bool standard_conforming_strings() const;
  bool ascii_safe_encoding() const;  // client_encoding is one whose second octets cannot be quotes

  // Prepared statements.
  Result<PreparedPtr> define(std::string_view name, std::string_view query, ByteView types,
                             std::shared_ptr<const sql::Facts> facts, std::uint64_t results = 0);  // Parse
  const PreparedPtr& find_prepared(std::string_view name) const;  // valid until a statement is defined or closed
  void close_prepared(std::string_view name);                     // Close 'S'
  void close_undone(const PreparedPtr& closed);                   // … which the server has skipped
  void drop_named(std::uint64_t until);                           // all whose generation is not a later one
  std::uint64_t generation() const { return generation_; }        // of the last one defined
  const PreparedByName& prepared() const { return prepared_; }
  // Grows with every change of what find_prepared() gives: until then its references hold.
  std::uint64_t prepared_changes() const { return prepared_changes_; }
  // Keyed hash of the settings by which a server reads a text and the constants in it, as they are now.
  const Hash128& reading() const;
  std::size_t prepared_by_sql() const { return prepared_by_sql_; }  // of these, made by PREPARE

  void add_pin(Pin pin);
  void clear_pins();  // DISCARD ALL, end of session

 private:
  void note_write();
  struct Level;       // parameters and the like at the start of the transaction or a savepoint
  struct ResetName {  // see link_parameters()
    std::string name;
    bool local = false;
  };

  // Parameters (parameters.cc).
  using LocalSetting = std::pair<int, std::string>;  // its place among the others, and what sets it
  std::vector<LocalSetting> local_settings() const;
  ParameterSetPtr without_role(const ParameterSet& set, const ParameterSet& link) const;
  bool encoding_is_local() const;
  bool has_octets() const;
  void apply_settings(const Outcome& outcome);
  void apply_setting(const sql::Setting& setting, const Outcome& outcome);
  void apply_value(const sql::Setting& setting, const Outcome& outcome);
  void apply_characteristics(const sql::TransactionOptions& options);
  void set_parameter(const Parameter& parameter, bool local);
  void reset_parameter(const std::string& name, bool local);
  void keep_current(const std::string& name);
  void reset_all(bool identity_too);
  void drop_role(bool local);
  ParameterSetPtr changed(const ParameterSetPtr& set, const std::string& name, const Parameter* to) const;
  void assign(ParameterSetPtr after_commit, ParameterSetPtr current);
  void refresh();
  void note_reset(const std::string& name, bool local);
  std::string_view setting_of(std::string_view name) const;

  // Transactions (transactions.cc).
  void transaction_control(const Outcome& outcome);
  void statement_failed(const Outcome& outcome);
  void begin(const Outcome& outcome);
  void end_transaction(bool commit, bool chain);
  void ensure_base();  // what a rollback goes back to
  Level here(std::string name) const;
  void savepoint(const std::string& name);
  void release(const std::string& name);
  void rollback_to(const std::string& name);
  void restore(const Level& level);
  void commit_session_state();

  // What cannot be carried (pins.cc).
  void begin_statement();
  void note_pins(const Outcome& outcome);
  void note_functions(const Outcome& outcome);
  void note_temporary(const sql::Statement& statement);
  void note_dropped(const sql::Statement& statement);
  void temporary_gone(const std::string& name);
  void note_listen(const sql::Statement& statement);
  void note_hold_cursor(const sql::Statement& statement);
  void note_discard(sql::DiscardTarget target);
  void remove_pin(Pin pin);
  void forget_temporary();

  // Prepared statements (prepared.cc).
  void note_prepared(const Outcome& outcome);
  static std::shared_ptr<const sql::Facts> facts_of_body(const sql::Statement& prepare);
  void put_prepared(PreparedPtr statement);
  Hash128 statement_id(std::string_view query, ByteView types, std::uint64_t results) const;
  mutable ParameterSetPtr read_under_;  // for which reading_ was made
  mutable Hash128 reading_;

  HashKey key_;
  SessionState state_;
  ParameterSetPtr startup_, current_;
  ParameterSetPtr after_commit_;  // without SET LOCAL
  std::vector<Level> levels_;     // first: the transaction; then its savepoints
  std::vector<ResetName> resets_;
  bool fresh_ = true;  // no statement since the last ready()
  PreparedByName prepared_;
  std::uint64_t prepared_changes_ = 0;
  // Statements found last, by the end of their names: a client has few that it runs over and over.
  static constexpr std::size_t kFound = 16;
  mutable std::array<const PreparedByName::value_type*, kFound> found_{};
  std::size_t prepared_by_sql_ = 0;
  std::uint64_t generation_ = 0;
  std::string search_path_key_, role_key_;
  bool path_names_temp() const {
    return search_path_key_.empty() ? temp_by_default_ : search_path_key_.find("pg_temp") != std::string::npos;
  }
  void follow(TxStatus status);
  void adopt_heard();
  std::string heard_encoding_, heard_conforming_;  // since ReadyForQuery; empty: nothing
  std::string reported_encoding_, reported_conforming_, reported_read_only_;
  bool temp_by_default_ = false;  // pg_temp is in the search_path that the login was given
  sql::Isolation reported_isolation_ = sql::Isolation::read_committed;
  bool conforming_strings_ = true, ascii_safe_ = true;
  bool listening_ = false;                      // at the last commit
  std::optional<bool> listen_at_commit_;        // LISTEN or UNLISTEN * since
  std::vector<std::string> temp_until_commit_;  // of state_.temp_tables
  bool temporary_unnamed_ = false;              // temporary objects whose names we do not follow
  std::vector<std::string> hold_cursors_;
};

// Parses startup option `options` ("-c a=b --c=d", backslash escapes) into name and value pairs; nullopt: refuse it.
std::optional<std::vector<std::pair<std::string, std::string>>> parse_startup_options(std::string_view options);

}  // namespace herdgate::vsession
