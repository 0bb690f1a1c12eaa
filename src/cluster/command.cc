#include "cluster/command.h"

namespace herdgate::cluster {
namespace {

// An empty word would move the others to the left, so it stays visible to the shell.
std::string word(const std::string& text) { return text.empty() ? "\"\"" : text; }
std::string number(NodeId id) { return std::to_string(id.value); }
std::string port_of(const CommandNode& node) { return node.id == kNoNode ? "\"\"" : std::to_string(node.port); }

std::string value_of(char letter, const CommandFacts& f) {
  switch (letter) {
    case 'd':
      return number(f.node.id);
    case 'h':
      return word(f.node.host);
    case 'p':
      return port_of(f.node);
    case 'D':
      return word(f.node.data_directory);
    case 'm':
      return number(f.successor.id);
    case 'H':
      return word(f.successor.host);
    case 'r':
      return port_of(f.successor);
    case 'R':
      return word(f.successor.data_directory);
    case 'M':
      return number(f.old_main);
    case 'P':
      return number(f.old_primary.id);
    case 'N':
      return word(f.old_primary.host);
    case 'S':
      return port_of(f.old_primary);
    case '%':
      return "%";
    default:
      return "";
  }
}

}  // namespace

std::string expand(std::string_view command, const CommandFacts& facts) {
  std::string out;
  for (std::size_t i = 0; i < command.size(); ++i) {
    if (command[i] != '%') {
      out += command[i];
    } else if (++i < command.size()) {
      out += value_of(command[i], facts);
    }
  }
  return out;
}

}  // namespace herdgate::cluster
