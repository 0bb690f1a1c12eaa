#include "monitor/replication.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace herdgate::monitor {
namespace {

constexpr double kLongestLagSeconds = 1e9;  // anything longer is nonsense
constexpr int kHexDigits = 16;

std::optional<std::uint64_t> parse_word(std::string_view text) {
  std::uint32_t word = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), word, kHexDigits);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return word;
}

const Sender* sender_of(const Answer& primary, const std::string& application_name) {
  if (application_name.empty()) return nullptr;
  for (const Sender& s : primary.senders)
    if (s.application_name == application_name) return &s;
  return nullptr;
}

// The server forgets the lag when everything is replayed and nothing new comes; of one that catches up it has none yet.
std::optional<std::chrono::microseconds> lag_of(const Sender& sender) {
  if (sender.replay_lag || sender.state != "streaming") return sender.replay_lag;
  return std::chrono::microseconds(0);
}

cluster::NodeReplication compare(NodeId id, const Answer& standby, const Answer& primary, const Sender* sender) {
  cluster::NodeReplication r;
  r.node = id;
  if (standby.position && primary.position)
    r.delay_bytes = *primary.position > *standby.position ? *primary.position - *standby.position : 0;
  if (!sender) return r;
  r.delay_time = lag_of(*sender);
  r.state = sender->state;
  r.sync_state = sender->sync_state;
  return r;
}

}  // namespace

std::optional<std::uint64_t> parse_position(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto high = parse_word(text.substr(0, slash)), low = parse_word(text.substr(slash + 1));
  if (!high || !low) return std::nullopt;
  return *high << 32 | *low;
}

std::optional<std::chrono::microseconds> parse_seconds(std::string_view text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(seconds)) return std::nullopt;
  if (seconds > kLongestLagSeconds) return std::nullopt;
  return std::chrono::microseconds(std::llround(std::max(seconds, 0.0) * 1e6));
}

cluster::ReplicationReport replication_report(const std::map<NodeId, Answer>& round, const RoundOptions& options) {
  cluster::ReplicationReport report;
  const auto primary = round.find(options.primary);
  if (primary == round.end() || !primary->second.position) return report;
  report.primary_position = *primary->second.position;
  for (const auto& [id, answer] : round) {
    if (id == options.primary) {
      report.nodes.push_back({id, 0, std::chrono::microseconds(0), "", ""});
      continue;
    }
    const auto name = options.application_names.find(id);
    const Sender* sender = name == options.application_names.end() ? nullptr : sender_of(primary->second, name->second);
    report.nodes.push_back(compare(id, answer, primary->second, sender));
  }
  // A node that is down, or late, has no answer of its own, but the primary may be sending to it.
  for (const auto& [id, name] : options.application_names) {
    const Sender* sender = round.count(id) ? nullptr : sender_of(primary->second, name);
    if (sender) report.nodes.push_back({id, std::nullopt, lag_of(*sender), sender->state, sender->sync_state});
  }
  return report;
}

}  // namespace herdgate::monitor
