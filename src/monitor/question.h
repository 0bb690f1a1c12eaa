// What all who ask servers by SQL share: a client for a target, text into SQL, a value out of an answer.
//
// Errors   an answer of another shape is an empty text.
// Threads  one loop.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "backend/client.h"
#include "monitor/probe.h"

namespace herdgate::monitor {

// Connecting and logging in may take `limit`.
std::unique_ptr<backend::Client> ask(const ProbeMeans& means, const ProbeTarget& target, Duration limit);

std::string literal(std::string_view text);  // with a blank before it

// Of the one row.
std::string text_of(const backend::Rows& rows, std::size_t column);

}  // namespace herdgate::monitor
