#include "session/session_log.h"

#include "session/session.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {

void say(Log& log, LogContext& who, Level level, const std::string& text, const std::string& detail = {}) {
  log.write(who, LogLine{.level = level, .text = text, .detail = detail, .file = "session"});
}

std::string client_detail(ByteView message) {
  using namespace wire;
  const ByteView payload = message.substr(kHeaderBytes);
  switch (message[0]) {
    case fe::kQuery:
      if (auto q = parse_query(payload)) return fmt::format("query: \"{}\"", *q);
      break;
    case fe::kParse:
      if (auto p = parse_parse(payload)) return fmt::format("statement: \"{}\", query: \"{}\"", p->statement, p->query);
      break;
    case fe::kBind:
      if (auto b = parse_bind(payload))
        return fmt::format("portal: \"{}\", statement: \"{}\"", b->portal, b->statement);
      break;
    case fe::kDescribe:
    case fe::kClose:
      if (auto d = parse_describe_or_close(payload))
        return fmt::format("{}: \"{}\"", d->what == 'S' ? "statement" : "portal", d->name);
      break;
    case fe::kExecute:
      if (auto e = parse_execute(payload)) return fmt::format("portal: \"{}\"", e->portal);
      break;
    case fe::kFunctionCall:
      if (auto oid = parse_function_call_oid(payload)) return fmt::format("oid: \"{}\"", *oid);
      break;
    default:
      break;
  }
  return {};
}

}  // namespace

void log_connection(const Session& session, Worker& worker, LogContext& who, const config::Settings& settings) {
  if (!settings.log_connections) return;
  const net::Address& peer = session.peer();
  if (peer.is_unix()) return say(worker.log(), who, Level::log, "new connection received", "connecting host=[local]");
  const auto log = [&worker, port = peer.port()](LogContext& whose, const std::string& host) {
    say(worker.log(), whose, Level::log, "new connection received",
        fmt::format("connecting host={} port={}", host, port));
  };
  if (!settings.log_hostname) return log(who, peer.host());
  // The name takes a while; the session may be over by then.
  worker.host_name(peer, [log, whose = who](const std::string& name) mutable { log(whose, name); });
}

void log_disconnection(const Session& session, Worker& worker, LogContext& who, const config::Settings& settings) {
  if (!settings.log_disconnections) return;
  const report::SlotRow row = session.row();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now() - row.started);
  const auto total = ms.count();
  const net::Address& peer = session.peer();
  const std::string port = peer.is_unix() ? "" : fmt::format(" port={}", peer.port());
  const std::string host = settings.log_hostname ? worker.known_host_name(peer) : peer.host();
  say(worker.log(), who, Level::log,
      fmt::format("frontend disconnection: session time: {}:{:02}:{:02}.{:03} user={} database={} host={}{}",
                  total / 3600000, total / 60000 % 60, total / 1000 % 60, total % 1000, who.user, who.database, host,
                  port));
}

void log_session_end(const Session&, Log& log, LogContext& who, const wire::Report& why) {
  const Level level = why.severity == "FATAL" ? Level::fatal : Level::error;
  log.write(who, LogLine{.level = level,
                         .text = why.message,
                         .detail = why.detail,
                         .hint = why.hint,
                         .sqlstate = why.sqlstate,
                         .file = "session"});
}

void log_statement(Log& log, LogContext& who, std::string_view sql) {
  say(log, who, Level::log, fmt::format("statement: {}", sql));
}

void log_node_statement(Log& log, LogContext& who, const backend::Link& link, std::string_view what,
                        std::string_view sql) {
  say(log, who, Level::log,
      fmt::format("DB node id: {} backend pid: {} statement: {}{}", link.key().node.value, link.greeting().pid, what,
                  sql));
}

void log_client_message(Log& log, LogContext& who, bool on, ByteView message) {
  if (!on || message.size() < wire::kHeaderBytes) return;
  const std::string_view name = wire::frontend_name(message[0]);
  if (name.empty()) return;
  say(log, who, Level::log, fmt::format("{} message from frontend.", name), client_detail(message));
}

void log_client_copy(const Session&, Log& log, LogContext& who, bool on, ByteView input) {
  if (!on || input.size() < wire::kHeaderBytes) return;
  const std::string_view name = wire::frontend_name(input[0]);
  const std::string detail =
      input[0] == wire::fe::kCopyData ? fmt::format("count: {}", load_u32(input.data() + 1) - 4) : std::string();
  say(log, who, Level::log, fmt::format("{} message from frontend.", name), detail);
}

void log_unparsable(const Session& session, Log& log, LogContext& who, std::string_view sql) {
  const net::Address& peer = session.peer();
  const std::string from = peer.is_unix() ? "local client" : fmt::format("client {}({})", peer.host(), peer.port());
  say(log, who, Level::log, fmt::format("Unable to parse the query: \"{}\" from {}", sql, from));
}

void log_fall_back(Log& log, LogContext& who, NodeId node, const backend::OpenFailure& why) {
  say(log, who, Level::warning, fmt::format("could not use node {}, the primary serves instead", node.value),
      why.server ? why.server->message : why.error.text());
}

void log_backend_error(Log& log, LogContext& who, const backend::Link& link, std::string_view sql,
                       std::string_view message) {
  if (sql.empty()) {
    return say(
        log, who, Level::log,
        fmt::format("Error message from backend: DB node id: {} message: \"{}\"", link.key().node.value, message));
  }
  say(log, who, Level::log,
      fmt::format("pool_send_and_wait: Error or notice message from backend: DB node id: {} backend pid: {} "
                  "statement: \"{}\" message: \"{}\"",
                  link.key().node.value, link.greeting().pid, sql, message));
}

void BackendMessageLog::message(Log& log, LogContext& who, int node, char type, bool terse) {
  if (terse && type == last_ && node == node_) {
    ++repeats_;
    return;
  }
  flush(log, who);
  last_ = type;
  node_ = node;
  say(log, who, Level::log, fmt::format("{} message from backend {}", wire::backend_name(type), node));
}

void BackendMessageLog::flush(Log& log, LogContext& who) {
  if (repeats_ > 0)
    say(log, who, Level::log,
        fmt::format("last {} message from backend {} repeated {} times", wire::backend_name(last_), node_, repeats_));
  repeats_ = 0;
  last_ = 0;
}

}  // namespace herdgate::session
