// Settings as text: PGPOOL SHOW and SHOW POOL_STATUS.
//
// Shape    show(settings, "port") -> one value; show(settings, "backend") -> rows; pool_status_rows -> all rows in
//          the documented order.
// Units    PGPOOL SHOW: on/off, words, the largest unit that divides exactly ("5min"), octal modes, "*****" for
//          secrets; arrays without units. SHOW POOL_STATUS: 1/0, numbers of words, plain numbers in the parameter's
//          unit.
// Errors   unknown_parameter; Error::context is the message for the client and, after a line break, its detail.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "PGPOOL SHOW" and "SHOW POOL_STATUS".
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/settings.h"

namespace herdgate::config {

struct ShowRow {
  std::string item, value, description;
  bool operator==(const ShowRow&) const = default;
};

struct Shown {
  bool single = true;         // one column named `column`, one value: rows[0].value
  std::string column;         // the parameter's name
  std::vector<ShowRow> rows;  // otherwise the columns item, value, description
};
// name: a parameter, a numbered one (backend_hostname0), an array without number, or a group: backend, watchdog,
// heartbeat, health_check. Any case.
Result<Shown> show(const Settings& settings, std::string_view name);
Shown show_all(const Settings& settings);
Result<std::string> show_value(const Settings& settings, std::string_view name);

// Figures of the running server that stand among the rows of SHOW POOL_STATUS.
struct PoolStatusLive {
  std::map<int, std::string> backend_status;  // "waiting", "up", "down", … by node number
  std::map<int, std::string> standby_delay;
  std::string cache_stats_start_time, no_cache_hits = "0", cache_hits = "0";
};
inline constexpr std::size_t kMaxStatusValueBytes = 512;
std::vector<ShowRow> pool_status_rows(const Settings& settings, const PoolStatusLive& live = {});

}  // namespace herdgate::config
