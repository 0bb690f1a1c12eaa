// Answers as text: what scripts parse and people read.
//
// Shape    render(program, options, reply) -> text for stdout; the reply holds no trouble.
// Errors   pcp::Errc::bad_payload when the answer does not have the fields it should have.
// Threads  pure (times are shown in the local time zone).
// Source   Pgpool-II 4.6 manual, "PCP Commands"; layout as its programs were seen to print it.
#pragma once
#include "options.h"
#include "pcp/reply.h"

namespace herdgate::pcp_client {

Result<std::string> render(const Program& program, const Options& options, const pcp::Reply& reply);
std::string trouble_text(const pcp::Trouble& trouble);

// The JSON of a watchdog answer.
Result<std::string> render_watchdog(std::string_view json, bool verbose);

// "LABEL : VALUE" lines, labels padded to the longest, and an empty line; or the values separated by blanks.
std::string record(std::span<const std::string_view> labels, std::span<const std::string> values, bool verbose);

}  // namespace herdgate::pcp_client
