// The pcp_* programs as one table, fifteen of the original and two of ours: names, options, what they ask. One
// executable carries all of them and is told by its own file name which one it is.
//
// Threads  none.
// Source   Pgpool-II 4.6 manual, "PCP Commands".
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "pcp/message.h"

namespace herdgate::pcp_client {

enum class Subject : std::uint8_t { none, node, process, watchdog, database };  // what the argument names
enum class Output : std::uint8_t {
  success,
  node_count,
  node_info,
  health_check_stats,
  pool_status,
  process_count,
  process_info,
  watchdog_info,
  deed,  // success, and what was done
};

struct Program {
  const char* name;
  pcp::Ask ask;
  Subject subject;
  bool number_required;
  const char* own_options;  // short ones, besides those that all have
  Output output;
  const char* task;
  bool fails_when_refused = false;  // of the original's programs scripts know that a refusal is told on stderr alone
};
// By the last part of a path; null: no such program.
const Program* program_called(std::string_view path);
std::string help_text(const Program& program);

}  // namespace herdgate::pcp_client
