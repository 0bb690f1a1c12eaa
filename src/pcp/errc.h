// What can be wrong with bytes that should be PCP.
#pragma once
#include "base/result.h"

namespace herdgate::pcp {

enum class Errc {
  bad_length = 1,   // a length field that no message may have
  unknown_request,  // a letter that names no request
  bad_payload,      // the content does not fit the letter
};
HG_DECLARE_ERRC(Errc)

}  // namespace herdgate::pcp

template <>
struct std::is_error_code_enum<herdgate::pcp::Errc> : std::true_type {};
