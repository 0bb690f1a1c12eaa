// PCP bytes from anywhere, cut anywhere: nothing is done before a login, input stays bounded, every answer is whole.
#include <cstdlib>

#include "pcp/conversation.h"

using namespace herdgate;
using namespace herdgate::pcp;

namespace {

void check_output(ByteView out) {
  while (!out.empty()) {
    const auto frame = first_frame(out, kReplyLimit);
    if (!frame || !*frame) std::abort();
    if ((**frame).letter == 'E' && parse_trouble((**frame).payload).message.empty()) std::abort();
    out.remove_prefix((**frame).whole_bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t step = 1 + data[0] % 64;
  const bool let_in = data[1] % 2 != 0;
  ByteView rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  Conversation talk([] { return Bytes("salt"); });
  bool logged_in = false;
  while (!rest.empty() && !talk.ended()) {
    talk.feed(rest.substr(0, step));
    rest.remove_prefix(std::min(step, rest.size()));
    while (const auto act = talk.next()) {
      if (std::holds_alternative<CheckLogin>(*act)) {
        logged_in = let_in;
        talk.login_checked(let_in);
        continue;
      }
      if (!logged_in || !talk.logged_in()) std::abort();
      const Request& request = std::get<Request>(*act);
      Bytes again;
      put_request(again, request);
      const auto frame = first_frame(again, kRequestLimit + kHeaderBytes);
      if (!frame || !*frame || parse_request(**frame) != request) std::abort();
      if (describe(request).empty()) std::abort();
      talk.answer({});
    }
    if (!talk.ended() && !talk.wants_input()) std::abort();  // nothing is busy, so all whole frames are gone
    check_output(talk.take_output());
  }
  parse_trouble(rest);
  return 0;
}
