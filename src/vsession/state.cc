#include "vsession/state.h"

namespace herdgate::vsession {
namespace {
struct PinName {
  Pin pin;
  const char* name;
};
constexpr PinName kPinNames[] = {
    {Pin::temporary_table, "temporary_table"},   {Pin::listen, "listen"}, {Pin::advisory_lock, "advisory_lock"},
    {Pin::with_hold_cursor, "with_hold_cursor"}, {Pin::load, "load"},     {Pin::unparsed_state, "unparsed_state"},
};
}  // namespace

std::string pin_names(std::uint16_t pins) {
  std::string out;
  for (const PinName& entry : kPinNames) {
    if ((pins & static_cast<std::uint16_t>(entry.pin)) == 0) continue;
    if (!out.empty()) out += ", ";
    out += entry.name;
  }
  return out;
}

}  // namespace herdgate::vsession
