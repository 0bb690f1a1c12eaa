// What PGPOOL SET changed for one session, laid over the settings of the file.
//
// Shape    SessionSettings own; own.set("log_statement", "on"); own.log_statement(settings) -> bool in force.
// Errors   Error::context is the whole message for the client:
//            config variable "x" not found
//            invalid Context, value for parameter "x" cannot be changed
//          or what is wrong with the value and, after a line break, a hint.
// Threads  belongs to its session.
// Source   Pgpool-II 4.6 manual, "PGPOOL SET" and "PGPOOL RESET".
#pragma once
#include <optional>
#include <string_view>

#include "base/result.h"
#include "config/settings.h"

namespace herdgate::config {

// Every parameter that a session may change.
#define HG_SESSION_PARAMETERS(X) \
  X(log_statement)               \
  X(log_per_node_statement)      \
  X(notice_per_node_statement)   \
  X(log_client_messages)         \
  X(log_backend_messages)        \
  X(log_error_verbosity)         \
  X(client_min_messages)         \
  X(log_min_messages)            \
  X(check_unlogged_table)        \
  X(allow_sql_comments)          \
  X(client_idle_limit)           \
  X(client_idle_limit_in_recovery)

class SessionSettings {
 public:
  Result<Done> set(std::string_view name, std::string_view value);
  Result<Done> reset(std::string_view name);
  void reset_all() { *this = SessionSettings{}; }
  // The settings as this session sees them; a copy, for SHOW only.
  Settings over(const Settings& settings) const;

#define X(name) \
  decltype(Settings::name) name(const Settings& settings) const { return own_##name##_.value_or(settings.name); }
  HG_SESSION_PARAMETERS(X)
#undef X

 private:
  friend struct SessionParameter;
#define X(name) std::optional<decltype(Settings::name)> own_##name##_;
  HG_SESSION_PARAMETERS(X)
#undef X
};

}  // namespace herdgate::config
