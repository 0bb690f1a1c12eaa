// Answers from anywhere: wd_cli keeps its head, and nothing of them steers a terminal.
#include <cstdlib>

#include "nodes.h"
#include "packet.h"

using namespace herdgate;
using namespace herdgate::wd_cli;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(reinterpret_cast<const char*>(data), size);
  const auto packet = first_packet(input);
  if (!packet || !*packet) return 0;
  if ((**packet).json.size() + kHeaderBytes > size) std::abort();
  if (const auto why = refusal(**packet); why && printable(*why) != *why) std::abort();
  const auto nodes = read_nodes((**packet).json);
  if (!nodes) return 0;
  for (const Node& node : *nodes) {
    Criteria criteria;
    criteria.id = node.id;
    criteria.name = node.name;
    if (matching(*nodes, criteria).empty()) std::abort();
  }
  for (const char c : render(nodes->size(), *nodes, size % 2 != 0))
    if (static_cast<unsigned char>(c) < ' ' && c != '\n') std::abort();
  return 0;
}
