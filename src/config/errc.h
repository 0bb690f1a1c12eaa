// Errors of reading configuration files and of PGPOOL SHOW, SET, RESET.
#pragma once
#include "base/result.h"

namespace herdgate::config {
enum class Errc {
  unreadable = 1,
  syntax,
  unknown_parameter,
  not_changeable,
  bad_value,
  bad_pattern,
  bad_redirect,
  bad_relation,
  bad_rule,
  bad_entry,
};
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::config
template <>
struct std::is_error_code_enum<herdgate::config::Errc> : std::true_type {};
