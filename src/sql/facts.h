// What a statement text is about, as far as a proxy must know: a plain value without parser types.
//
// Shape    Facts{statements}: one Statement per statement of the text, in order. A Statement says its kind, what it
//          reads and writes by name as written (unresolved), the functions it calls, and what it does to the session.
// Limits   the walk goes kMaxDepth deep; a deeper statement is marked too_deep and must be treated as a write.
// Errors   a text that PostgreSQL's grammar refuses has Kind::unparsable as its only statement; never a Result error.
// Threads  values; immutable once made, shared by const pointer.
// Source   PostgreSQL 17 grammar (raw parse tree); statement classes of Pgpool-II 4.6, "Load balancing conditions".
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace herdgate::sql {

enum class Kind : std::uint8_t {
  empty,         // nothing but blanks, comments, semicolons
  unparsable,    // the grammar refuses it (or a client encoding we cannot lex): route as a write
  pool_command,  // SHOW POOL_*, PGPOOL …: answered by the proxy itself
  select,        // SELECT, VALUES, TABLE, WITH … SELECT, also with INTO or locking: see the flags
  insert,
  update,
  delete_,
  merge,
  truncate,
  copy_from,
  copy_to,
  begin,
  commit,
  rollback,
  savepoint,
  release,
  rollback_to,
  prepare_transaction,
  commit_prepared,
  rollback_prepared,
  set,
  reset,
  show,
  discard,
  set_constraints,
  explain,
  prepare,
  execute,
  deallocate,
  declare_cursor,
  fetch,
  close_cursor,
  listen,
  unlisten,
  notify,
  lock,
  call,
  do_block,
  load,
  checkpoint,
  ddl,  // CREATE, ALTER, DROP, GRANT, REVOKE, COMMENT, REFRESH, REINDEX, CLUSTER, VACUUM, ANALYZE …
  other,
};
std::string_view kind_name(Kind kind);
constexpr bool ends_transaction(Kind kind) {
  return kind == Kind::commit || kind == Kind::rollback || kind == Kind::prepare_transaction;
}

// A relation name as written. Quoted parts are unquoted, unquoted ones folded to lower case (as the grammar does).
struct Relation {
  std::string schema, name;
  bool operator==(const Relation&) const = default;
};
struct Function {
  std::string schema, name;
  bool by_dot = false;  // (x).name: a field, or else a function of that name, called with x
  bool operator==(const Function&) const = default;
};

// PostgreSQL's own functions that run a text, or whatever view is behind a name: those whose names begin so.
inline constexpr std::string_view kRunText[] = {"query_to_xml",    "cursor_to_xml", "table_to_xml", "schema_to_xml",
                                                "database_to_xml", "ts_stat",       "ts_rewrite"};
inline bool runs_text(std::string_view function) {
  for (const std::string_view known : kRunText) {
    if (function.starts_with(known)) return true;
  }
  return false;
}

enum class Isolation : std::uint8_t { read_uncommitted, read_committed, repeatable_read, serializable };

// BEGIN, START TRANSACTION, SET TRANSACTION, SET SESSION CHARACTERISTICS AS TRANSACTION; also AND CHAIN of COMMIT etc.
struct TransactionOptions {
  std::optional<Isolation> isolation;
  std::optional<bool> read_only, deferrable;
  std::string snapshot;  // SET TRANSACTION SNAPSHOT 'id'
  bool chain = false;    // COMMIT AND CHAIN, ROLLBACK AND CHAIN
  bool operator==(const TransactionOptions&) const = default;
};

enum class SetForm : std::uint8_t {
  value,         // SET [LOCAL] name = v, …; also TIME ZONE, NAMES, ROLE, SESSION AUTHORIZATION, SEED by name
  to_default,    // SET name TO DEFAULT, RESET name
  from_current,  // SET name FROM CURRENT (only in functions; kept for completeness)
  transaction,   // SET TRANSACTION …: options in Statement::transaction
  session_characteristics,  // SET SESSION CHARACTERISTICS AS TRANSACTION …
  reset_all,                // RESET ALL
};

// SET and RESET; also each set_config(constant, constant, constant) at the top level of a SELECT list.
struct Setting {
  SetForm form = SetForm::value;
  bool local = false;               // SET LOCAL, or is_local of set_config
  std::string name;                 // lower case: "search_path", "timezone", "role", "session_authorization"
  std::vector<std::string> values;  // constants as text, in order
  bool from_set_config = false;
};

enum class DiscardTarget : std::uint8_t { all, plans, sequences, temp };

struct Statement {
  Kind kind = Kind::other;
  // Slice of the text, octets, without the trailing semicolon; length 0: the whole text (facts that texts share which
  // differ in their numbers only).
  std::uint32_t begin = 0, length = 0;

  // What it touches. Names may repeat only once each; CTE names are not relations.
  std::vector<Relation> relations;      // every relation in the tree, targets of writes and of DDL included
  std::vector<Relation> written;        // targets: INSERT/UPDATE/DELETE/MERGE/TRUNCATE/COPY FROM/INTO/writing CTEs/DDL
  std::vector<Function> functions;      // every function call in the tree; operators, casts, defaults not seen
  std::vector<std::string> pool_words;  // Kind::pool_command: its words, literals unquoted

  // Shape of a SELECT (or of the statement inside PREPARE, EXPLAIN, COPY (…), DECLARE: see `inner`).
  bool into = false;              // SELECT … INTO, CREATE TABLE AS
  bool locking = false;           // FOR UPDATE/SHARE/… anywhere in the tree
  bool writing_with_top = false;  // a top-level WITH member that is not a SELECT
  bool writing_with_any = false;  // INSERT/UPDATE/DELETE/MERGE anywhere in the tree
  bool tablesample = false;
  bool current_time = false;       // CURRENT_TIMESTAMP, LOCALTIME, … (not functions in the grammar)
  bool current_user_like = false;  // CURRENT_USER, SESSION_USER, CURRENT_ROLE, CURRENT_SCHEMA, CURRENT_CATALOG …
  bool time_zone_cast = false;     // a cast to timestamptz or timetz
  bool locks_shown = false;        // xmax, cmin or cmax is named, which locks change too
  bool creates_temp = false;       // CREATE TEMP …, SELECT INTO TEMP; the name is in `written`
  bool temp_until_commit = false;  // … ON COMMIT DROP
  bool drops_table = false;        // DROP TABLE; the names are in `written`
  bool has_parameters = false;     // $1 …
  bool too_deep = false;           // deeper than kMaxDepth, or kMaxParsedText: everything above is incomplete
  bool leaves_nothing = false;  // too long, but by its words it leaves the session nothing that a reset does not take

  // What it does to the session.
  TransactionOptions transaction;
  std::vector<Setting> settings;
  bool sets_unseen = false;  // by a set_config() that is not among the settings
  std::string name;          // savepoint, prepared statement, cursor, channel, gid, SHOW variable
  bool all = false;          // DEALLOCATE ALL, CLOSE ALL, UNLISTEN *
  bool with_hold = false;    // DECLARE … WITH HOLD
  bool binary_cursor = false;
  DiscardTarget discard = DiscardTarget::all;
  int lock_mode = 0;                  // LOCK TABLE: 1 ACCESS SHARE … 8 ACCESS EXCLUSIVE (PostgreSQL's lockdefs)
  bool copy_file_or_program = false;  // COPY … to/from a file or PROGRAM, not the client
  bool explain_analyze = false;
  std::optional<int> terminate_pid;  // SELECT pg_terminate_backend(constant [, constant]) and nothing else
  std::string ddl_tag;           // "CREATE TABLE", "REVOKE", "ALTER ROLE", "DROP DATABASE": what the cache must know
  bool role_login_only = false;  // ALTER ROLE that changes nothing but the password or the connection limit
  bool grants_role = false;      // CREATE ROLE … IN ROLE, ROLE, ADMIN: also a GRANT of a role

  // Reads or writes rows and does nothing else that anybody could see: to the session, to the schema, by a function.
  bool only_rows() const {
    const bool rows = kind == Kind::select || kind == Kind::insert || kind == Kind::update || kind == Kind::delete_;
    return rows && functions.empty() && settings.empty() && !into && !creates_temp && !too_deep && !writes_settings();
  }

  // UPDATE pg_settings is SET by a rule of that view.
  bool writes_settings() const {
    for (const Relation& r : written) {
      if (r.name == "pg_settings" && (r.schema.empty() || r.schema == "pg_catalog")) return true;
    }
    return false;
  }

  // The prepared statement that SQL names: EXECUTE, also inside of EXPLAIN and CREATE TABLE AS, PREPARE, DEALLOCATE.
  std::string_view names_prepared() const {
    const Statement* statement = this;
    while (statement->inner && statement->kind != Kind::prepare) statement = statement->inner.get();
    const Kind what = statement->kind;
    const bool names = what == Kind::execute || what == Kind::prepare || (what == Kind::deallocate && !statement->all);
    return names ? std::string_view(statement->name) : std::string_view();
  }

  std::vector<std::string> dotted;   // c of t.c: a column, or else a function c(t) of t's rows
  std::shared_ptr<Statement> inner;  // of PREPARE, EXPLAIN, COPY (query) TO, DECLARE CURSOR, CREATE TABLE AS
};

// Words before the statement proper.
enum class LeadingComment : std::uint8_t { none, other, force_query_cache, no_query_cache };

struct Facts : std::enable_shared_from_this<Facts> {
  std::vector<Statement> statements;  // at least one
  LeadingComment leading_comment = LeadingComment::none;
  char first_char = '\0';      // first octet of the text as it came; '\0' when empty
  char first_nonblank = '\0';  // first octet after blanks: for ignore_leading_white_space
  std::string parse_error;     // Kind::unparsable: what the grammar said
  std::string traceparent;     // from a sqlcommenter comment, if there is one
  std::uint64_t serial = 0;    // no two of one FactsCache have the same; 0: not from a cache
  bool multi() const { return statements.size() > 1; }
  const Statement& first() const { return statements.front(); }
};

inline constexpr int kMaxDepth = 2000;
// A longer text is not parsed (a hostile one of 1 MB takes some 150 ms and 130 MB): if its quotes show that it is one
// INSERT, UPDATE, DELETE, MERGE, SELECT, DO or CALL it has that kind and is too_deep, else it is unparsable.
inline constexpr std::size_t kMaxParsedText = 1 << 20;

struct ParseOptions {
  bool standard_conforming_strings = true;
  // False for SJIS, BIG5, GBK, UHC, GB18030, JOHAB: their second octets may look like quotes; such text is parsed only
  // when it is plain ASCII.
  bool ascii_safe_encoding = true;
};

// Parses and walks. Slow path: 1–30 µs. Must run on a worker thread (the parser keeps memory per thread).
Facts parse_facts(std::string_view text, const ParseOptions& options);

// A bounded LRU in front of parse_facts, one per worker, never shared. Texts over kMaxCachedText are not kept.
class FactsCache {
 public:
  static constexpr std::size_t kMaxCachedText = 64 * 1024;
  explicit FactsCache(std::size_t max_entries, std::size_t max_bytes = 16 << 20);
  ~FactsCache();
  std::shared_ptr<const Facts> facts(std::string_view text, const ParseOptions& options);
  std::uint64_t hits() const;
  std::uint64_t misses() const;

 private:
  struct Store;
  std::unique_ptr<Store> store_;
};

}  // namespace herdgate::sql
