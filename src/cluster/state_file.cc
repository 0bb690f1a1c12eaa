#include "cluster/state_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>

namespace herdgate::cluster {
namespace {

constexpr std::size_t kMaxShownOctets = 32;  // of a bad line, in a complaint

std::string lower_trimmed(std::string_view line) {
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!line.empty() && blank(line.front())) line.remove_prefix(1);
  while (!line.empty() && blank(line.back())) line.remove_suffix(1);
  std::string out(line);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string printable(std::string_view text) {
  std::string out(text.substr(0, kMaxShownOctets));
  for (char& c : out)
    if (std::isprint(static_cast<unsigned char>(c)) == 0) c = '?';
  return out;
}

// A number of NodeStatus has three zero octets, and no text form contains a zero octet.
bool is_binary(std::string_view bytes) {
  return bytes.size() >= 4 && bytes.size() % 4 == 0 && bytes.find('\0') != std::string_view::npos;
}

SavedStatus from_number(std::uint32_t number, std::size_t node, StateFile& file) {
  switch (number) {
    case static_cast<std::uint32_t>(NodeStatus::unused):
      return SavedStatus::unused;
    case static_cast<std::uint32_t>(NodeStatus::waiting):
    case static_cast<std::uint32_t>(NodeStatus::up):
      return SavedStatus::up;
    case static_cast<std::uint32_t>(NodeStatus::down):
      return SavedStatus::down;
    default:
      file.complaints.push_back(fmt::format("node {}: no such status number: {}", node, number));
      return SavedStatus::up;
  }
}

SavedStatus from_word(std::string_view line, std::size_t node, StateFile& file) {
  const std::string word = lower_trimmed(line);
  if (word == "up") return SavedStatus::up;
  if (word == "down") return SavedStatus::down;
  if (word == "unused") return SavedStatus::unused;
  file.complaints.push_back(fmt::format("line {}: \"{}\" is none of up, down, unused", node + 1, printable(word)));
  return SavedStatus::up;
}

StateFile parse_binary(std::string_view bytes) {
  StateFile file;
  const std::size_t count = std::min<std::size_t>(bytes.size() / 4, kMaxNodes);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t number;
    std::memcpy(&number, bytes.data() + 4 * i, 4);
    file.nodes.push_back(from_number(number, i, file));
  }
  return file;
}

}  // namespace

StateFile parse_state_file(std::string_view bytes) {
  if (is_binary(bytes)) return parse_binary(bytes);
  StateFile file;
  while (!bytes.empty() && file.nodes.size() < static_cast<std::size_t>(kMaxNodes)) {
    const std::size_t end = bytes.find('\n');
    file.nodes.push_back(from_word(bytes.substr(0, end), file.nodes.size(), file));
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
  }
  return file;
}

std::string print_state_file(const std::vector<Node>& nodes) {
  std::string out;
  int next = 0;
  for (const Node& node : nodes) {
    for (; next < node.id.value; ++next) out += "unused\n";
    const bool usable = node.status == NodeStatus::waiting || node.status == NodeStatus::up;
    out += usable ? "up\n" : node.status == NodeStatus::down ? "down\n" : "unused\n";
    ++next;
  }
  return out;
}

}  // namespace herdgate::cluster
