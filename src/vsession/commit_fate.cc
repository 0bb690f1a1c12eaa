#include "vsession/commit_fate.h"

#include <fmt/format.h>

#include <charconv>

#include "base/sqlstate.h"

namespace herdgate::vsession {

Fate fate_of(const std::optional<std::string>& status) {
  if (!status) return Fate::unknown;
  if (*status == "committed") return Fate::committed;
  if (*status == "aborted") return Fate::rolled_back;
  return *status == "in progress" ? Fate::running : Fate::unknown;
}

Fate fate_of_error(std::string_view sqlstate) {
  return sqlstate == sqlstate::kInvalidParameterValue ? Fate::rolled_back : Fate::unknown;
}

// txid_status() refuses an id that was not given out. Those from the snapshot's end on are not committed in any case.
std::string missing_query(const std::vector<std::uint64_t>& ids) {
  return fmt::format(
      "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN ARRAY(SELECT id FROM "
      "pg_catalog.unnest('{{{}}}'::pg_catalog.int8[]) AS id WHERE CASE WHEN id >= "
      "pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) THEN true "
      "ELSE COALESCE(pg_catalog.txid_status(id) <> 'committed', false) END) END",
      fmt::join(ids, ","));
}

std::optional<std::vector<std::uint64_t>> missing_in(const std::optional<std::string>& array) {
  if (!array || array->size() < 2 || array->front() != '{' || array->back() != '}') return std::nullopt;
  std::vector<std::uint64_t> ids;
  const char* at = array->data() + 1;
  const char* const end = array->data() + array->size() - 1;
  while (at != end) {
    std::uint64_t id = 0;
    const auto [stop, error] = std::from_chars(at, end, id);
    if (error != std::errc()) return std::nullopt;
    ids.push_back(id);
    at = stop;
    if (at != end && *at++ != ',') return std::nullopt;
  }
  return ids;
}

}  // namespace herdgate::vsession
