#include "session/session_log.h"

#include "base/sqlstate.h"
#include "session/session.h"
#include "sql/trace_context.h"
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

std::string_view severity(Level level) { return level <= Level::debug1 ? "DEBUG" : level_name(level); }

}  // namespace

// ---- what the client hears of its own session (client_min_messages). Errors it is told anyway.

bool Session::hears(Level level) const { return level < Level::error && tells_client(level); }

// Kept until the request has been answered: between the messages of an answer under way is no place that is always
// safe.
void Session::tell(const LogLine& line) {
  if (notices_full_) return;
  if (!notices_) notices_ = std::make_unique<Bytes>();
  wire::Report notice;
  notice.severity = severity(line.level);
  notice.sqlstate = !line.sqlstate.empty()         ? line.sqlstate
                    : line.level == Level::warning ? sqlstate::kWarning
                                                   : sqlstate::kSuccess;
  notice.file = "session";
  const std::size_t bytes = line.text.size() + line.detail.size() + line.hint.size();
  notices_full_ = notices_->size() + bytes > kMaxNotices;
  if (notices_full_) {
    notice.message = "more was logged about this request than its client is told";
  } else {
    notice.message = line.text;
    notice.detail = line.detail;
    notice.hint = line.hint;
  }
  wire::put_notice(*notices_, notice);
}

void Session::give_notices() {
  if (!notices_) return;
  client_.own() += *notices_;
  client_.added_own();
  notices_.reset();
  notices_full_ = false;
}

// PGPOOL SET log_min_messages and log_error_verbosity.
void Session::heed_own_levels() {
  const Level level = own().log_min_messages(settings());
  const Verbosity verbosity = own().log_error_verbosity(settings());
  who_.threshold = level == settings().log_min_messages ? std::nullopt : std::optional(level);
  who_.verbosity = verbosity == settings().log_error_verbosity ? std::nullopt : std::optional(verbosity);
}

// The lines of jsonlog about a statement carry the trace context that its comment names.
void Session::note_trace(std::string_view text) {
  who_.trace = {};
  if (!settings().traces) return;
  const std::string_view found = sql::traceparent(text);
  if (found.empty()) return;
  if (!trace_) trace_ = std::make_unique<std::string>();
  trace_->assign(found);
  who_.trace = *trace_;
}

// ---- log_client_messages

void Session::log_from_client(ByteView message) {
  log_client_message(worker_.log(), who_, own().log_client_messages(settings()), message);
}

// ---- log_backend_messages

void Session::log_backend_message(const backend::Link& link, char type) {
  const auto mode = own().log_backend_messages(settings());
  if (mode == config::LogBackendMessages::none) return;
  if (!message_log_) message_log_ = std::make_unique<BackendMessageLog>();
  message_log_->message(worker_.log(), who_, link.key().node.value, type, mode == config::LogBackendMessages::terse);
}

// The rows of a run, one by one. A row may begin in one run and go on in the next.
void Session::log_rows(const backend::Link& link, ByteView bytes) {
  if (!message_log_) message_log_ = std::make_unique<BackendMessageLog>();
  bytes.remove_prefix(message_log_->skip(bytes.size()));
  while (bytes.size() >= wire::kHeaderBytes) {
    log_backend_message(link, bytes[0]);
    message_log_->expect(load_u32(bytes.data() + 1) + 1);
    bytes.remove_prefix(message_log_->skip(bytes.size()));
  }
}

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
  LogContext later = who;
  later.listener = nullptr;
  worker.host_name(peer, [log, whose = later](const std::string& name) mutable { log(whose, name); });
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

void log_told(Log& log, LogContext& who, const wire::Report& why) {
  const Level level = why.severity == "FATAL" ? Level::fatal : Level::error;
  log.write(who, LogLine{.level = level,
                         .text = why.message,
                         .detail = why.detail,
                         .hint = why.hint,
                         .sqlstate = why.sqlstate,
                         .file = "session"});
}

void log_statement(Log& log, LogContext& who, std::string_view sql) {
  say(log, who, Level::log, std::string("statement: ").append(sql));
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

void log_cancel(Log& log, LogContext& who, bool on, std::int32_t pid) {
  if (on) say(log, who, Level::log, "Cancel message from frontend.", fmt::format("process id: {}", pid));
}

std::size_t BackendMessageLog::skip(std::size_t available) {
  const std::size_t part = std::min(rest_, available);
  rest_ -= part;
  return part;
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
