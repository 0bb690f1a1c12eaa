#include "monitor/question.h"

#include <fmt/format.h>

#include <charconv>

#include "backend/errc.h"

namespace herdgate::monitor {

// The number is "Herdgate" in ASCII; pg_locks shows it in two halves.
const char* const kTakeConninfoLock =
    "CASE WHEN NOT pg_catalog.pg_try_advisory_lock(5216701518935323749) THEN COALESCE((SELECT pg_catalog.format("
    "'process %s of user %s%s', pid, usename, CASE WHEN state_change < pg_catalog.clock_timestamp() - "
    "pg_catalog.make_interval(mins => 1) AND pg_catalog.pg_terminate_backend(pid) THEN ', which is ended' ELSE '' END) "
    "FROM pg_catalog.pg_locks JOIN pg_catalog.pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND "
    "classid = 1214607972 AND objid = 1734440037 AND objsubid = 1 AND pg_locks.database = datid LIMIT 1), "
    "'another session') END";

std::unique_ptr<backend::Client> ask(const ProbeMeans& means, const ProbeTarget& target, Duration limit) {
  backend::OpenRequest request{{target.node, target.database, target.user},
                               target.to,
                               Deadline::after(means.loop.now(), limit),
                               target.tcp,
                               target.credentials};
  return std::make_unique<backend::Client>(means.loop, means.blocking, means.scratch, std::move(request));
}

std::string literal(std::string_view text) {
  std::string out = " E'";
  for (char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

std::string alter_conninfo(std::string_view conninfo) {
  return "ALTER SYSTEM SET primary_conninfo =" + literal(conninfo);
}

std::string make_missing_slots(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ",") + literal(name);
  return "SELECT pg_catalog.pg_create_physical_replication_slot(name) FROM pg_catalog.unnest(ARRAY[" + list +
         "]::pg_catalog.name[]) AS name WHERE name NOT IN (SELECT slot_name FROM pg_catalog.pg_replication_slots)";
}

bool refuses(const Error& error, std::string_view sqlstate) {
  return error.code == backend::Errc::query_failed && !sqlstate.starts_with("57");
}

std::string too_old_for_builtin(const std::string& version) {
  int number = 0;
  std::from_chars(version.data(), version.data() + version.size(), number);
  if (number >= kOldestBuiltin) return {};
  return fmt::format("server_version_num is {}, failover_method = builtin needs PostgreSQL {} or later", version,
                     kOldestBuiltin / 10000);
}

std::string text_of(const backend::Rows& rows, std::size_t column) {
  if (rows.size() != 1 || column >= rows.front().size()) return {};
  return rows.front()[column].value_or(std::string());
}

}  // namespace herdgate::monitor
