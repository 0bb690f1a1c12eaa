#include "cluster/switchover.h"

#include <fmt/format.h>

#include <cctype>

namespace herdgate::cluster {
namespace {

const Candidate* answering(const Situation& situation, NodeId id) {
  for (const Candidate& c : situation.standbys)
    if (c.id == id && c.answered) return &c;
  return nullptr;
}

}  // namespace

std::string objection_to(const SwitchoverFacts& f) {
  const auto of = [](NodeId id, const char* what) { return fmt::format("node {} {}", id.value, what); };
  if (!f.primary) return of(f.from, "is not the primary");
  if (!f.superuser) return "the user for it (recovery_user, or sr_check_user where that is empty) is no superuser";
  if (f.restart.empty())
    return fmt::format(
        "node {} has no function pgpool_restart_as_standby in database template1; install Herdgate's extension "
        "pgpool_recovery there and run CREATE EXTENSION pgpool_recovery",
        f.from.value);
  if (!f.hot_standby) return of(f.from, "has hot_standby off, so it could not be asked after it was stopped");
  if (!f.standby) return of(f.to, "is no standby");
  if (!f.trouble.empty()) return of(f.to, ("has a strange setting: " + f.trouble).c_str());
  if (!f.streams) return of(f.to, "does not receive from the primary");
  if (f.written > f.replayed && f.written - f.replayed > kMaxSwitchoverLag)
    return fmt::format("node {} is {} bytes of WAL behind, more than {}", f.to.value, f.written - f.replayed,
                       kMaxSwitchoverLag);
  return {};
}

Verdict judge_switchover(const Situation& situation, NodeId old_primary) {
  const Candidate* wanted = answering(situation, situation.wanted);
  const Candidate* old = answering(situation, old_primary);
  if (!old) return {kNoNode, fmt::format("node {}, which was the primary, does not answer", old_primary.value)};
  if (!wanted) return {old_primary, fmt::format("node {} does not answer any more", situation.wanted.value)};
  // It received from the old primary until that one's end, so they are on one timeline. (What the control file of a
  // standby says about timelines is as old as its last restartpoint.)
  if (wanted->position < old->position)
    return {old_primary, fmt::format("node {} lacks {} bytes of WAL that node {} has", wanted->id.value,
                                     old->position - wanted->position, old_primary.value)};
  return {wanted->id, "no commit is missing: it has all that the old primary wrote until its end"};
}

std::string slot_name_of(const std::string& application_name) {
  constexpr std::size_t kMaxName = 63;
  std::string name;
  for (char c : application_name.substr(0, kMaxName)) {
    const auto u = static_cast<unsigned char>(c);
    name += std::isalnum(u) ? static_cast<char>(std::tolower(u)) : '_';
  }
  return name;
}

}  // namespace herdgate::cluster
