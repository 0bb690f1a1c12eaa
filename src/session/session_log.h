// What a session writes to the log: connections, statements, messages, in the words of Pgpool-II.
//
// Threads  the worker of the session; Log is thread-safe.
// Source   Pgpool-II 4.6 manual, "What To Log".
#pragma once
#include <string_view>

#include "backend/link.h"
#include "backend/opener.h"
#include "base/log.h"
#include "config/settings.h"
#include "wire/backend.h"

namespace herdgate::session {

class Session;
class Worker;

void log_connection(const Session& session, Worker& worker, LogContext& who, const config::Settings& settings);
void log_disconnection(const Session& session, Worker& worker, LogContext& who, const config::Settings& settings);
// The FATAL that ends a session, or an ERROR that is not a server's.
void log_told(Log& log, LogContext& who, const wire::Report& why);
// log_statement
void log_statement(Log& log, LogContext& who, std::string_view sql);
// log_per_node_statement; `what` is "statement", "Parse", "Bind", "Execute", …
void log_node_statement(Log& log, LogContext& who, const backend::Link& link, std::string_view what,
                        std::string_view sql);
// log_client_messages: the message at the front of `input`.
void log_client_message(Log& log, LogContext& who, bool on, ByteView message);
void log_client_copy(const Session& session, Log& log, LogContext& who, bool on, ByteView input);
// A cancel request, which log_client_messages counts among the messages.
void log_cancel(Log& log, LogContext& who, bool on, std::int32_t pid);
void log_unparsable(const Session& session, Log& log, LogContext& who, std::string_view sql);
// A standby did not take the session: the primary serves in its place.
void log_fall_back(Log& log, LogContext& who, NodeId node, const backend::OpenFailure& why);
// log_per_node_statement; `sql` is empty in the extended protocol.
void log_backend_error(Log& log, LogContext& who, const backend::Link& link, std::string_view sql,
                       std::string_view message);

// log_backend_messages, with runs of equal messages summed up in terse mode.
class BackendMessageLog {
 public:
  void message(Log& log, LogContext& who, int node, char type, bool terse);
  void flush(Log& log, LogContext& who);
  // A row of this many octets has begun; skip() says how many of those at hand are still of it.
  void expect(std::size_t row_bytes) { rest_ = row_bytes; }
  std::size_t skip(std::size_t available);

 private:
  std::size_t rest_ = 0;
  char last_ = 0;
  int node_ = 0;
  std::uint64_t repeats_ = 0;
};

}  // namespace herdgate::session
