#include "monitor/old_work.h"

#include <charconv>

namespace herdgate::monitor {

// A session whose client has gone ends as soon as it is idle, in a transaction or not. Where track_activities is off
// its state is "disabled" and nothing is known but its own age. Of others a role without rights sees neither state nor
// type.
const char* old_work_query() {
  return "SELECT pg_catalog.pg_is_in_recovery(), CAST(1000000 * pg_catalog.max(pg_catalog.date_part('epoch', "
         "pg_catalog.clock_timestamp() - COALESCE(LEAST(xact_start, query_start), backend_start))) FILTER (WHERE "
         "backend_type = 'client backend' AND state NOT LIKE 'idle%') AS pg_catalog.int8), "
         "COALESCE(pg_catalog.bool_or(backend_type IS NULL AND usesysid IS NOT NULL AND datid IS NOT NULL), false) "
         "FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid()";
}

// An age below zero: the server's clock was set back.
OldWork old_work(const backend::Rows& rows, Duration since) {
  if (rows.size() != 1 || rows.front().size() != 3 || rows.front()[0] != "f") return OldWork::elsewhere;
  const std::optional<std::string>& oldest = rows.front()[1];
  if (oldest) {
    std::int64_t age = -1;
    const auto [end, error] = std::from_chars(oldest->data(), oldest->data() + oldest->size(), age);
    if (error != std::errc() || end != oldest->data() + oldest->size() || age < 0) return OldWork::goes_on;
    const Duration surely_new = since - since / kClocksDiffer;
    if (std::chrono::microseconds(age) >= surely_new) return OldWork::goes_on;
  }
  if (rows.front()[2] == "t") return OldWork::hidden;
  return rows.front()[2] == "f" ? OldWork::over : OldWork::elsewhere;
}

}  // namespace herdgate::monitor
