#include "session/own_commands.h"

#include <strings.h>

#include "base/sqlstate.h"
#include "config/show.h"
#include "route/explain.h"
#include "session/words.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string upper(std::string word) {
  for (char& c : word) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return word;
}

wire::Report error(std::string_view state, std::string message, std::string hint = {}) {
  wire::Report report;
  report.sqlstate = state;
  report.message = std::move(message);
  report.hint = std::move(hint);
  report.file = "own_commands";
  return report;
}

wire::Report no_room(std::string message) {
  wire::Report report = error(sqlstate::kProgramLimitExceeded, std::move(message));
  report.detail = no_room_detail();
  return report;
}

Pauses::Change pause_of(const std::vector<std::string>& words) {
  return {words.size() == 3 ? words[2] : std::string(), same(words[1], "pause")};
}

// What module config says: the message and, after a line break, its hint.
wire::Report config_error(const Error& why) {
  const std::size_t end = why.context.find('\n');
  return error(sqlstate::kUndefinedObject, why.context.substr(0, end),
               end == std::string::npos ? std::string() : why.context.substr(end + 1));
}

report::Table table_of(const config::Shown& shown) {
  report::Table table;
  if (shown.single) {
    table.columns = {shown.column};
    for (const config::ShowRow& row : shown.rows) table.rows.push_back({row.value});
    return table;
  }
  table.columns = {"item", "value", "description"};
  for (const config::ShowRow& row : shown.rows) table.rows.push_back({row.item, row.value, row.description});
  return table;
}

}  // namespace

bool OwnCommands::needs_report(const sql::Statement& command, std::string_view text) const {
  const auto& words = command.pool_words;
  if (std::string_view inner; is_explain_route(command, text, inner)) {
    const auto& explained = session_.work().seldom().explained;
    return std::any_of(explained.begin(), explained.end(),
                       [this](const auto& facts) { return session_.goes_to_process(*facts); });
  }
  return words.size() >= 2 && (same(words[0], "show") || (same(words[0], "pgpool") && same(words[1], "kill")));
}

void OwnCommands::run(const sql::Statement& command, std::string_view text) {
  if (is_pause(command.pool_words) && !pause_refusal(command.pool_words)) {
    // Whoever pauses goes on when it is in force everywhere.
    session_.phase_ = Session::Phase::running;
    return pause(command.pool_words,
                 [&worker = session_.worker_, id = session_.id_,
                  tag = fmt::format("PGPOOL {}", upper(command.pool_words[1]))](const Pauses::Outcome& outcome) {
                   Session* session = worker.find(id);
                   if (session == nullptr || session->phase_ != Session::Phase::running) return;
                   Answer told;
                   told.tag = tag;
                   if (!outcome.taken) told.error = no_room(outcome.words);
                   OwnCommands(*session).send(told, true);
                   session->say_ready();
                   session->finish_request();
                   session->go_on();
                 });
  }
  if (!needs_report(command, text)) {
    send(answer({command, text, nullptr}), true);
    return session_.say_ready();
  }
  // The command lives in cached facts that may go.
  session_.ask_workers(
      [&session = session_, facts = session_.work().facts, text = std::string(text)](const report::Server& server) {
        OwnCommands self(session);
        self.send(self.answer({facts->first(), text, &server, /*simple=*/true}), true);
        session.say_ready();
        session.finish_request();
      });
}

void OwnCommands::send(const Answer& answer, bool with_description) {
  Bytes& out = session_.client_.own();
  if (answer.notice && session_.tells_client(Level::notice)) wire::put_notice(out, *answer.notice);
  if (answer.error) {
    session_.say_error(*answer.error);
    failed_ = true;
  } else if (!answer.tag.empty()) {
    wire::put_command_complete(out, answer.tag);
  } else {
    if (with_description) wire::put_text_row_description(out, answer.table.columns);
    for (const auto& row : answer.table.rows) wire::put_text_row(out, row);
    wire::put_command_complete(out, fmt::format("SELECT {}", answer.table.rows.size()));
  }
  session_.client_.added_own();
}

OwnCommands::Answer OwnCommands::answer(const Asked& asked) {
  const auto& words = asked.command.pool_words;
  if (words.size() == 2 && same(words[0], "show") && asked.server != nullptr) return show_pool(words[1], *asked.server);
  if (std::string_view inner; is_explain_route(asked.command, asked.text, inner))
    return explain_route(inner, asked.simple ? asked.server : nullptr);
  if (words.size() >= 2 && same(words[0], "pgpool")) {
    if (same(words[1], "show") && words.size() == 3) return pgpool_show(words[2]);
    if (same(words[1], "set")) return pgpool_set(words);
    if (same(words[1], "reset")) return pgpool_reset(words);
    if (same(words[1], "kill") && asked.server != nullptr) return pgpool_kill(words, *asked.server);
    if (is_pause(words)) {
      Answer told;
      told.error = pause_refusal(words);
      told.tag = fmt::format("PGPOOL {}", upper(words[1]));
      if (!told.error) pause(words, [](const Pauses::Outcome&) {});
      return told;
    }
  }
  Answer wrong;
  if (!words.empty() && same(words[0], "show")) {
    wrong.error = error(sqlstate::kSyntaxError, fmt::format("syntax error at or near \"{}\"", words.back()),
                        "Write SHOW and one name, as SHOW POOL_NODES.");
    return wrong;
  }
  wrong.error = error(sqlstate::kSyntaxError, "syntax error in PGPOOL command",
                      "Known are PGPOOL SHOW, SET, RESET, SET CACHE DELETE, EXPLAIN ROUTE, KILL, PAUSE and RESUME.");
  return wrong;
}

OwnCommands::Answer OwnCommands::show_pool(std::string_view what, const report::Server& server) {
  const config::Settings& settings = session_.settings();
  Answer answer;
  if (same(what, "pool_nodes")) {
    answer.table = report::pool_nodes(server, settings, {session_.lb_node()});
  } else if (same(what, "pool_processes")) {
    answer.table = report::pool_processes(server);
  } else if (same(what, "pool_pools")) {
    answer.table = report::pool_pools(server, settings);
  } else if (same(what, "pool_version")) {
    answer.table = report::pool_version();
  } else if (same(what, "pool_backend_stats")) {
    answer.table = report::pool_backend_stats(server, settings);
  } else if (same(what, "pool_health_check_stats")) {
    answer.table = report::pool_health_check_stats(server, settings);
  } else if (same(what, "pool_cache")) {
    answer.table = report::pool_cache(server);
  } else if (same(what, "pool_status")) {
    answer.table = report::pool_status(server, session_.own().over(settings));
  } else {
    answer.error = error(sqlstate::kUndefinedObject, fmt::format("unrecognized configuration parameter \"{}\"", what));
  }
  return answer;
}

OwnCommands::Answer OwnCommands::pgpool_show(std::string_view name) {
  Answer answer;
  if (same(name, "paused")) return show_paused();
  const config::Settings settings = session_.own().over(session_.settings());
  if (same(name, "all")) {
    answer.table = table_of(config::show_all(settings));
    return answer;
  }
  auto shown = config::show(settings, name);
  if (shown) {
    answer.table = table_of(*shown);
  } else {
    answer.error = config_error(shown.error());
  }
  return answer;
}

// PGPOOL SET name TO value, PGPOOL SET name = value, PGPOOL SET CACHE DELETE 'query'.
OwnCommands::Answer OwnCommands::pgpool_set(const std::vector<std::string>& words) {
  Answer answer;
  const bool of_cache = words.size() >= 4 && same(words[2], "cache") && same(words[3], "delete");
  if (of_cache && words.size() == 5) {
    answer.tag = "SET";
    wire::Report notice;
    notice.severity = "NOTICE";
    notice.sqlstate = sqlstate::kSuccess;
    const bool deleted = session_.cache_ && session_.cache_->remove(words[4]);
    notice.message = deleted ? fmt::format("query cache deleted. query: \"{}\"", words[4])
                             : fmt::format("query cache does not exist for query: \"{}\"", words[4]);
    notice.file = "own_commands";
    answer.notice = notice;
    return answer;
  }
  if (words.size() != 5 || !(same(words[3], "to") || words[3] == "=")) {
    answer.error = error(sqlstate::kSyntaxError, "syntax error in PGPOOL SET",
                         of_cache ? "Write PGPOOL SET CACHE DELETE 'query', with each quote in the query doubled."
                                  : "Write PGPOOL SET name TO value.");
    return answer;
  }
  if (auto set = session_.set_own(words[2], words[4]); !set) {
    answer.error = config_error(set.error());
  } else {
    answer.tag = "SET";
  }
  return answer;
}

OwnCommands::Answer OwnCommands::pgpool_reset(const std::vector<std::string>& words) {
  Answer answer;
  if (words.size() == 3 && same(words[2], "all")) {
    session_.reset_all_own();
    answer.tag = "RESET";
    return answer;
  }
  if (words.size() != 3) {
    answer.error = error(sqlstate::kSyntaxError, "syntax error in PGPOOL RESET", "Write PGPOOL RESET name.");
  } else if (auto reset = session_.reset_own(words[2]); !reset) {
    answer.error = config_error(reset.error());
  } else {
    answer.tag = "RESET";
  }
  return answer;
}

OwnCommands::Answer OwnCommands::pgpool_kill(const std::vector<std::string>& words, const report::Server& server) {
  Answer answer;
  const bool number = words.size() == 3 && !words[2].empty() && words[2].size() <= 10 &&
                      words[2].find_first_not_of("0123456789") == std::string::npos;
  if (!number) {
    answer.error = error(sqlstate::kSyntaxError, "syntax error in PGPOOL KILL",
                         "Write PGPOOL KILL pool_pid, as SHOW POOL_PROCESSES prints it.");
    return answer;
  }
  const std::uint64_t slot = std::stoull(words[2]);
  const auto row = std::find_if(server.slots.begin(), server.slots.end(),
                                [&](const report::SlotRow& r) { return static_cast<std::uint64_t>(r.pid) == slot; });
  if (row == server.slots.end()) {
    answer.error = error(sqlstate::kUndefinedObject, fmt::format("there is no client with pool_pid {}", slot),
                         "SHOW POOL_PROCESSES prints those that there are.");
    return answer;
  }
  if (!session_.superuser_ && row->user != session_.identity_->user) {
    answer.error = error(sqlstate::kInsufficientPrivilege, "permission denied for PGPOOL KILL",
                         "Only superusers may end the sessions of another user.");
    return answer;
  }
  Workers& all = session_.worker_.workers();
  for (std::size_t i = 0; i < all.count(); ++i) {
    Worker& worker = all.worker(WorkerId(static_cast<int>(i)));
    worker.post([&worker, slot] {
      if (Session* session = worker.find(SessionId(slot))) session->end(shutting_down());
    });
  }
  answer.tag = "PGPOOL KILL";
  return answer;
}

// PGPOOL PAUSE [database], PGPOOL RESUME [database].
bool OwnCommands::is_pause(const std::vector<std::string>& words) {
  return words.size() >= 2 && same(words[0], "pgpool") && (same(words[1], "pause") || same(words[1], "resume"));
}

std::optional<wire::Report> OwnCommands::pause_refusal(const std::vector<std::string>& words) const {
  if (words.size() > 3)
    return error(sqlstate::kSyntaxError, fmt::format("syntax error in PGPOOL {}", upper(words[1])),
                 fmt::format("Write PGPOOL {} or PGPOOL {} database.", upper(words[1]), upper(words[1])));
  // It holds the sessions of others.
  if (!session_.superuser_)
    return error(sqlstate::kInsufficientPrivilege, fmt::format("permission denied for PGPOOL {}", upper(words[1])),
                 "Only superusers may pause and resume.");
  const auto& pauses = session_.worker_.snapshot()->pauses;
  const Pauses::Change change = pause_of(words);
  if (change.on && pauses && !pauses->has_room(change.database)) return no_room(no_room_to_pause(change.database));
  return std::nullopt;
}

void OwnCommands::pause(const std::vector<std::string>& words, Workers::PauseDone done) {
  session_.worker_.workers().pause(pause_of(words), session_.worker_.id(), std::move(done));
}

OwnCommands::Answer OwnCommands::show_paused() {
  Answer answer;
  answer.table.columns = {"database", "seconds_left"};
  const auto& pauses = session_.worker_.snapshot()->pauses;
  if (!pauses) return answer;
  const TimePoint now = session_.worker_.loop().now();
  for (const auto& [database, end] : pauses->databases) {
    const bool limited = end.at != TimePoint::max();
    const auto left = std::chrono::duration_cast<std::chrono::seconds>(end.at - now).count();
    answer.table.rows.push_back({database.empty() ? "*" : database, limited ? std::to_string(left) : ""});
  }
  return answer;
}

std::string_view OwnCommands::deleted_from_cache(const sql::Statement& command) {
  const auto& words = command.pool_words;
  const bool deletes = words.size() == 5 && same(words[0], "pgpool") && same(words[1], "set") &&
                       same(words[2], "cache") && same(words[3], "delete");
  return deletes ? std::string_view(words[4]) : std::string_view();
}

bool OwnCommands::is_explain_route(const sql::Statement& command, std::string_view text, std::string_view& inner) {
  const auto& words = command.pool_words;
  if (words.size() < 3 || !same(words[0], "pgpool") || !same(words[1], "explain") || !same(words[2], "route"))
    return false;
  // The words stand in the text in this order; what follows ROUTE is the statement.
  std::size_t at = 0;
  for (const std::string_view word : {"pgpool", "explain", "route"}) {
    while (at < text.size() && !same(text.substr(at, word.size()), word)) ++at;
    at += word.size();
  }
  inner = at < text.size() ? text.substr(at) : std::string_view();
  const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (!inner.empty() && blank(inner.front())) inner.remove_prefix(1);  // patterns begin at the statement
  while (!inner.empty() && (inner.back() == ';' || blank(inner.back()))) inner.remove_suffix(1);
  return true;
}

// What it has to ask the catalog is known by now: the session has planned it once.
// In the extended protocol nothing goes to a process, and `server` is null.
OwnCommands::Answer OwnCommands::explain_route(std::string_view text, const report::Server* server) {
  Answer answer;
  answer.table.columns = {"item", "value"};
  if (text.empty()) {
    answer.error =
        error(sqlstate::kSyntaxError, "syntax error in PGPOOL EXPLAIN ROUTE", "Write PGPOOL EXPLAIN ROUTE statement.");
    return answer;
  }
  Explained told;
  session_.plan_explained(text, told);
  if (server != nullptr && session_.goes_to_process(*told.facts))
    told.plan = session_.plan_to_process(*told.facts->first().terminate_pid, *server);
  const Identity& who = *session_.identity_;
  Random& random = session_.worker_.random();
  const route::LbChoice choice = route::choose_lb_node({.view = session_.view(),
                                                        .settings = session_.settings(),
                                                        .user = who.user,
                                                        .database = who.database,
                                                        .application_name = who.application,
                                                        .draw = random.fraction(),
                                                        .draw2 = random.fraction()});
  const bool raw = session_.settings().backend_clustering_mode == config::ClusteringMode::raw;
  const route::Explain explained{.facts = *told.facts,
                                 .plan = told.plan,
                                 .answers = told.answers,
                                 .view = session_.view(),
                                 .settings = session_.settings(),
                                 .prepared = session_.prepared_statement(told.facts->first()),
                                 .lb_node = raw ? kNoNode : session_.vs_.state().lb_node,
                                 .lb_choice = &choice};
  for (const route::ExplainRow& row : route::explain_route(explained))
    answer.table.rows.push_back({row.item, row.value});
  answer.table.rows.push_back({"cacheable", cacheable(told, text)});
  return answer;
}

std::string OwnCommands::cacheable(const Explained& told, std::string_view text) const {
  if (!session_.cache_) return "no: memory_cache_enabled is off";
  const config::Settings& settings = session_.settings();
  const cache::Verdict verdict =
      cache::verdict({*told.facts, text, told.answers, *settings.patterns, session_.own().allow_sql_comments(settings),
                      session_.vs_.standard_conforming_strings()});
  if (!verdict.ok()) return "no: " + verdict.refusal;
  const std::string_view now = session_.cache_->refusal();
  if (!now.empty()) return fmt::format("not now: {}", now);
  return session_.cache_->selective() ? "yes, from the second time: few results are asked for again now" : "yes";
}

void OwnCommands::unit_parse(const Frame& frame) {
  auto parse = wire::parse_parse(frame.payload);
  const sql::ParseOptions options{};
  auto facts = session_.worker_.facts().facts(parse->query, options);
  auto defined =
      session_.vs_.define(parse->statement, parse->query, parse->types, std::move(facts), session_.results_epoch());
  Bytes& out = session_.client_.own();
  if (!defined) {
    session_.say_error(error(sqlstate::kDuplicatePreparedStatement,
                             fmt::format("prepared statement \"{}\" already exists", parse->statement)));
    failed_ = true;
  } else {
    wire::put_parse_complete(out);
  }
}

void OwnCommands::answer_unit(ByteView unit) {
  bool runs = false;
  for (ByteView rest = unit; rest.size() >= wire::kHeaderBytes;) {
    const Frame frame = first_frame(rest);
    rest.remove_prefix(frame.whole.size());
    runs = runs || frame.type == wire::fe::kExecute || frame.type == wire::fe::kDescribe;
  }
  if (!runs) {
    write_unit(unit, nullptr);
    return session_.finish_request();
  }
  session_.ask_workers([&session = session_, kept = Bytes(unit)](const report::Server& server) {
    OwnCommands(session).write_unit(kept, &server);
    session.finish_request();
  });
}

void OwnCommands::write_unit(ByteView unit, const report::Server* server) {
  Bytes& out = session_.client_.own();
  std::map<std::string, vsession::PreparedPtr, std::less<>> portals;
  for (ByteView rest = unit; rest.size() >= wire::kHeaderBytes;) {
    const Frame frame = first_frame(rest);
    rest.remove_prefix(frame.whole.size());
    if (frame.type == wire::fe::kSync) {
      session_.give_notices();
      wire::put_ready(out, static_cast<char>(session_.vs_.state().tx.status));
      failed_ = false;
      continue;
    }
    if (failed_) continue;
    if (frame.type == wire::fe::kParse) {
      unit_parse(frame);
    } else if (frame.type == wire::fe::kBind) {
      auto bind = wire::parse_bind(frame.payload);
      portals[std::string(bind->portal)] = session_.vs_.find_prepared(bind->statement);
      wire::put_bind_complete(out);
    } else if (frame.type == wire::fe::kClose) {
      auto close = wire::parse_describe_or_close(frame.payload);
      if (close->what == 'S') session_.vs_.close_prepared(close->name);
      wire::put_close_complete(out);
    } else if (frame.type == wire::fe::kDescribe || frame.type == wire::fe::kExecute) {
      auto what = frame.type == wire::fe::kDescribe ? wire::parse_describe_or_close(frame.payload)
                                                    : Result<wire::DescribeOrClose>(wire::DescribeOrClose{'P', {}});
      if (frame.type == wire::fe::kExecute) what->name = wire::parse_execute(frame.payload)->portal;
      const auto portal = portals.find(what->name);
      const vsession::PreparedPtr statement = what->what == 'S'         ? session_.vs_.find_prepared(what->name)
                                              : portal != portals.end() ? portal->second
                                                                        : nullptr;
      if (!statement) {
        session_.say_error(no_such_statement(what->name));
        failed_ = true;
      } else if (frame.type == wire::fe::kDescribe) {
        if (what->what == 'S') wire::put_parameter_description(out, {});
        unit_describe(*statement, server);
      } else {
        session_.client_.added_own();
        send(answer({statement->facts->first(), statement->query, server}), false);
      }
    }
  }
  session_.client_.added_own();
  if (failed_) session_.unit().skip = true;  // it ended with a Flush: the rest of the batch is still to come
}

// Describing SET would carry it out: what has no rows is told apart by its words.
void OwnCommands::unit_describe(const vsession::PreparedStatement& statement, const report::Server* server) {
  const sql::Statement& command = statement.facts->first();
  const auto& words = command.pool_words;
  const auto says = [&](std::size_t at, std::string_view word) { return words.size() > at && same(words[at], word); };
  Bytes& out = session_.client_.own();
  if (!says(0, "show") && !says(1, "show") && !says(1, "explain")) return wire::put_no_data(out);
  wire::put_text_row_description(out, answer({command, statement.query, server}).table.columns);
}

}  // namespace herdgate::session
