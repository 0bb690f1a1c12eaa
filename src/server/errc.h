// Errors of starting, stopping and driving the process.
#pragma once
#include "base/result.h"

namespace herdgate::server {
enum class Errc {
  pid_file_taken = 1,
  pid_file_unreadable,
  pid_file_unwritable,
  not_running,
  signal_failed,
  bad_configuration,
  too_few_descriptors,
  system_failed,
};
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::server
template <>
struct std::is_error_code_enum<herdgate::server::Errc> : std::true_type {};
