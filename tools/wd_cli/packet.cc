#include "packet.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "nodes.h"

namespace herdgate::wd_cli {
namespace {

using Json = nlohmann::json;

constexpr char kStateRequest = '2', kNodesRequest = '3';
constexpr char kInTransition = '5', kRefused = '6', kDone = '7', kTimeout = '8';
constexpr int kAllNodes = -1, kDead = 1, kAlive = 2;
constexpr std::size_t kShownBytes = 500;  // of what the watchdog says in its own words

Bytes request(char type, Json body, const std::string& key) {
  if (!key.empty()) body["IPCAuthKey"] = key;
  const std::string text = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  Bytes out(1, type);
  append_u32(out, static_cast<std::uint32_t>(text.size()));
  return out + text;
}

std::string words_of(ByteView json) {
  const Json whole = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  const auto at = whole.is_object() ? whole.find("MESSAGE") : whole.end();
  if (at == whole.end() || !at->is_string()) return "";
  return printable(at->get_ref<const std::string&>().substr(0, kShownBytes));
}

}  // namespace

Bytes nodes_request(const std::string& key) { return request(kNodesRequest, {{"NodeID", kAllNodes}}, key); }

Bytes state_request(int node, bool alive, const std::string& message, const std::string& key) {
  Json body = {{"NodeID", node}, {"NodeStatus", alive ? kAlive : kDead}};
  if (!message.empty()) body["Message"] = message;
  return request(kStateRequest, std::move(body), key);
}

OrFailure<std::optional<Packet>> first_packet(ByteView input) {
  if (input.size() < kHeaderBytes) return std::optional<Packet>();
  const std::size_t length = load_u32(input.data() + 1);
  if (length > kAnswerLimit)
    return failure("could not understand the watchdog's answer",
                   fmt::format("It announces {} octets, more than the {} that are read.", length, kAnswerLimit));
  if (input.size() < kHeaderBytes + length) return std::optional<Packet>();
  ByteView json = input.substr(kHeaderBytes, length);
  while (json.ends_with('\0')) json.remove_suffix(1);
  return std::optional(Packet{input.front(), json});
}

std::optional<std::string> refusal(const Packet& answer) {
  switch (answer.type) {
    case kDone:
      return {};
    case kInTransition:
      return "The watchdog cluster is about to change its leader; it can be tried again in some seconds.";
    case kRefused: {
      const std::string words = words_of(answer.json);
      return words.empty() ? "The watchdog refused the request." : fmt::format("The watchdog answered: {}.", words);
    }
    case kTimeout:
      return "The watchdog answered that the time was over.";
    default:
      return fmt::format("The watchdog's answer is of an unknown kind ({}).", static_cast<unsigned char>(answer.type));
  }
}

}  // namespace herdgate::wd_cli
