// The words of enum parameters, once: C++ enum, number as SHOW POOL_STATUS prints it, word as pgpool.conf spells it.
//
// Shape    each enum has words_of(E{}) -> its words in the order in which they are documented.
// Source   Pgpool-II 4.6 manual, "Server Configuration" and "SHOW POOL_STATUS".
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "base/log.h"

namespace herdgate::config {

struct EnumWord {
  std::string_view word;
  int number;
  bool hidden = false;  // accepted, but not named in messages and documents
};

enum class ClusteringMode : std::uint8_t {
  streaming_replication = 1,
  native_replication,
  logical_replication,
  slony,
  raw,
  snapshot_isolation
};
enum class ProcessManagementMode : std::uint8_t { fixed = 1, dynamic };  // "static" is a C++ keyword
enum class ProcessManagementStrategy : std::uint8_t { aggressive = 1, gentle, lazy };
enum class DisableLoadBalanceOnWrite : std::uint8_t { off = 1, transaction, trans_transaction, always, dml_adaptive };
enum class LogStandbyDelay : std::uint8_t { always = 1, if_over_threshold, none };
enum class LifecheckMethod : std::uint8_t { query = 1, heartbeat, external };
enum class CacheMethod : std::uint8_t { shmem = 1, memcached };
enum class RelcacheQueryTarget : std::uint8_t { primary = 1, load_balance_node };
enum class CheckTempTable : std::uint8_t { catalog = 1, trace, none, on, off };
enum class SyslogFacility : std::uint8_t { local0, local1, local2, local3, local4, local5, local6, local7 };
using ErrorVerbosity = Verbosity;  // "default" is a C++ keyword
enum class LogBackendMessages : std::uint8_t { none = 1, terse, verbose };
// Ours.
enum class PoolMode : std::uint8_t { session = 1, transaction };
enum class FailoverMethod : std::uint8_t { command = 1, builtin };
enum class IoMethod : std::uint8_t { automatic = 1, epoll, io_uring };

#define HG_ENUM_WORDS(E, ...)                              \
  inline constexpr EnumWord k##E##Words[] = {__VA_ARGS__}; \
  constexpr std::span<const EnumWord> words_of(E) { return k##E##Words; }

HG_ENUM_WORDS(ClusteringMode, {"streaming_replication", 1}, {"native_replication", 2}, {"logical_replication", 3},
              {"slony", 4}, {"raw", 5}, {"snapshot_isolation", 6})
HG_ENUM_WORDS(ProcessManagementMode, {"static", 1}, {"dynamic", 2})
HG_ENUM_WORDS(ProcessManagementStrategy, {"aggressive", 1}, {"gentle", 2}, {"lazy", 3})
HG_ENUM_WORDS(DisableLoadBalanceOnWrite, {"off", 1}, {"transaction", 2}, {"trans_transaction", 3}, {"always", 4},
              {"dml_adaptive", 5})
HG_ENUM_WORDS(LogStandbyDelay, {"always", 1}, {"if_over_threshold", 2}, {"none", 3})
HG_ENUM_WORDS(LifecheckMethod, {"query", 1}, {"heartbeat", 2}, {"external", 3})
HG_ENUM_WORDS(CacheMethod, {"shmem", 1}, {"memcached", 2})
HG_ENUM_WORDS(RelcacheQueryTarget, {"primary", 1}, {"load_balance_node", 2})
HG_ENUM_WORDS(CheckTempTable, {"catalog", 1}, {"trace", 2}, {"none", 3}, {"on", 4}, {"off", 5})
HG_ENUM_WORDS(SyslogFacility, {"LOCAL0", 0}, {"LOCAL1", 1}, {"LOCAL2", 2}, {"LOCAL3", 3}, {"LOCAL4", 4}, {"LOCAL5", 5},
              {"LOCAL6", 6}, {"LOCAL7", 7})
HG_ENUM_WORDS(ErrorVerbosity, {"terse", 0}, {"default", 1}, {"verbose", 2})
HG_ENUM_WORDS(LogBackendMessages, {"none", 1}, {"terse", 2}, {"verbose", 3})
HG_ENUM_WORDS(PoolMode, {"session", 1}, {"transaction", 2})
HG_ENUM_WORDS(FailoverMethod, {"command", 1}, {"builtin", 2})
HG_ENUM_WORDS(IoMethod, {"auto", 1}, {"epoll", 2}, {"io_uring", 3})
#undef HG_ENUM_WORDS

// herdgate::Level carries the numbers already. (An overload in this namespace: the table looks it up by hand.)
inline constexpr EnumWord kLevelWords[] = {
    {"debug5", 10}, {"debug4", 11}, {"debug3", 12},      {"debug2", 13}, {"debug1", 14},
    {"info", 17},   {"notice", 18}, {"warning", 19},     {"error", 20},  {"log", 15},
    {"fatal", 21},  {"panic", 22},  {"debug", 13, true},
};
constexpr std::span<const EnumWord> words_of(Level) { return kLevelWords; }

}  // namespace herdgate::config
