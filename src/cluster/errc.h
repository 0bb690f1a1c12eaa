// What can go wrong with texts of servers that the cluster's decisions are made of.
#pragma once
#include "base/result.h"

namespace herdgate::cluster {
enum class Errc { conninfo_not_understood = 1 };
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::cluster

template <>
struct std::is_error_code_enum<herdgate::cluster::Errc> : std::true_type {};
