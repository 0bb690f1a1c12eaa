// pool_hba.conf from anywhere: parsing and matching must not crash, and a rule must mean the same when read again.
#include <cstdint>
#include <cstdlib>

#include "config/hba.h"

using namespace herdgate::config;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const HbaLoaded loaded = parse_hba(text, "h");
  HbaClient client;
  client.database = "d";
  client.user = "u";
  client.host = "a.example.com";
  for (const char* address : {"10.1.2.3", "::1", "::ffff:10.1.2.3"}) {
    client.address = *parse_ip(address);
    for (const bool local : {false, true}) {
      client.is_local = local;
      const HbaRule* rule = match(loaded.rules, client);
      if (rule == nullptr) continue;
      const HbaLoaded again = parse_hba(rule->text, "h");
      if (again.has_errors() || match(again.rules, client) == nullptr) std::abort();
    }
  }
  if (const auto address = parse_ip(text)) {
    const auto again = parse_ip(format_ip(*address));
    if (!again || *again != *address) std::abort();
  }
  return 0;
}
