// How a server is stopped: smart waits for the clients, fast ends them; immediate is fast here.
#pragma once
#include <cstdint>

namespace herdgate::admin {

enum class StopMode : std::uint8_t { smart, fast, immediate };

}  // namespace herdgate::admin
