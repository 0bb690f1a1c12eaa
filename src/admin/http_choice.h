// What our own code reads of an HTTP request: which page its target means, and which format its Accept header prefers.
//
// Shape    page_of(target), format_for(accept). Everything else of HTTP is read by Boost.Beast (http_request.h).
// Errors   none: an Accept header that is not understood asks for nothing in particular.
// Threads  pure.
// Source   RFC 9110, "Accept", "Quality Values"; RFC 9112, "Request Target"; Prometheus documentation, "Content
//          negotiation".
#pragma once
#include <cstdint>
#include <string_view>

#include "admin/exposition.h"

namespace herdgate::admin {

enum class Page : std::uint8_t { none, metrics, health, readiness, state };

Page page_of(std::string_view target);
// OpenMetrics where it is named, in a version that we speak, and wanted at least as much as plain text.
Format format_for(std::string_view accept);

}  // namespace herdgate::admin
