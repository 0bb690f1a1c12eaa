// Answers from anywhere: the client keeps its head.
#include <cstdlib>

#include "pcp/reply.h"

using namespace herdgate;
using namespace herdgate::pcp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView rest(reinterpret_cast<const char*>(data), size);
  Reply reply;
  for (;;) {
    const auto frame = first_frame(rest, kReplyLimit);
    if (!frame || !*frame) return 0;
    const auto whole = reply.add(**frame);
    if (!whole || *whole) break;
    rest.remove_prefix((**frame).whole_bytes);
  }
  for (const auto& row : reply.rows)
    for (const std::string& value : row)
      if (value.find('\0') != std::string::npos) std::abort();
  return 0;
}
