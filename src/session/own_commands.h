// SHOW POOL_*, PGPOOL SHOW/SET/RESET, PGPOOL EXPLAIN ROUTE, KILL, PAUSE, RESUME: answered by the proxy itself, in the
// simple and in the extended protocol.
//
// Shape    run() and answer_unit() answer at once when they can, or collect a report from all workers first; then the
//          session is in phase `running` without a link and goes on when the report is there.
// Threads  the worker of its session; lives for one call.
// Source   Pgpool-II 4.6 manual, "SQL type commands".
#pragma once
#include "report/rows.h"
#include "session/session.h"

namespace herdgate::session {

class OwnCommands {
 public:
  explicit OwnCommands(Session& session) : session_(session) {}
  void run(const sql::Statement& command, std::string_view text);  // simple query
  void answer_unit(ByteView unit);  // extended: a unit of own commands, Close and Sync only
  // PGPOOL EXPLAIN ROUTE <sql>: true when `text` is that; `inner` is the SQL.
  static bool is_explain_route(const sql::Statement& command, std::string_view text, std::string_view& inner);
  // PGPOOL SET CACHE DELETE 'text': the text; empty: it is something else.
  static std::string_view deleted_from_cache(const sql::Statement& command);

 private:
  struct Answer {
    report::Table table;
    std::string tag;  // SET, RESET; empty: SELECT n
    std::optional<wire::Report> error, notice;
  };
  struct Asked {
    const sql::Statement& command;
    std::string_view text;                   // of the command
    const report::Server* server = nullptr;  // what SHOW POOL_… tells of
    bool simple = false;
  };
  bool needs_report(const sql::Statement& command, std::string_view text) const;
  Answer answer(const Asked& asked);
  Answer explain_route(std::string_view text, const report::Server* server);
  Answer show_pool(std::string_view what, const report::Server& server);
  Answer pgpool_show(std::string_view name);
  Answer pgpool_set(const std::vector<std::string>& words);
  Answer pgpool_reset(const std::vector<std::string>& words);
  Answer pgpool_kill(const std::vector<std::string>& words, const report::Server& server);
  static bool is_pause(const std::vector<std::string>& words);
  std::optional<wire::Report> pause_refusal(const std::vector<std::string>& words) const;
  void pause(const std::vector<std::string>& words, Workers::PauseDone done);
  Answer show_paused();
  void send(const Answer& answer, bool with_description);
  std::string cacheable(const Explained& told, std::string_view text) const;
  void write_unit(ByteView unit, const report::Server* server);
  void unit_parse(const Frame& frame);
  void unit_describe(const vsession::PreparedStatement& statement, const report::Server* server);

  Session& session_;
  bool failed_ = false;
};

}  // namespace herdgate::session
