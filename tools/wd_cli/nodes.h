// The watchdog's nodes: read from its JSON, chosen by what the user knows of them, shown.
//
// Shape    read_nodes(JSON) -> nodes; matching(nodes, criteria) -> those that fit all that is given, in their order.
// Limits   at most kMaxNodes nodes.
// Errors   a Failure when the JSON is none, or is no list of nodes with all their fields.
// Threads  pure.
// Source   Pgpool-II 4.6.1's watchdog, as it answered; layout as its wd_cli was seen to print it.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "failure.h"

namespace herdgate::wd_cli {

// Texts hold no control characters: those of a peer must not reach a terminal.
struct Node {
  int id = 0, state = 0, wd_port = 0, pgpool_port = 0;
  std::string state_name, name, host;
};
OrFailure<std::vector<Node>> read_nodes(ByteView json);

struct Criteria {
  std::optional<int> id, wd_port;
  std::optional<std::string> name, host;  // whatever the case of their letters
  bool empty() const { return !id && !wd_port && !name && !host; }
};
std::vector<Node> matching(std::span<const Node> nodes, const Criteria& criteria);
std::string text_of(const Criteria& criteria);  // "[ID=1 AND Name=ANY AND …]"

// `total`: how many nodes there are, beside those that are shown.
std::string render(std::size_t total, std::span<const Node> shown, bool verbose);

std::string printable(std::string_view text);  // control characters become '?'

}  // namespace herdgate::wd_cli
