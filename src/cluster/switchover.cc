#include "cluster/switchover.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <sstream>

namespace herdgate::cluster {
namespace {

const Candidate* answering(const Situation& situation, NodeId id) {
  for (const Candidate& c : situation.standbys)
    if (c.id == id && c.answered) return &c;
  return nullptr;
}

// That the old primary was or is on, which may have been promoted again meanwhile.
std::int64_t last_timeline(const Situation& s, const Candidate& old) {
  return std::max(s.old_primary_timeline.value_or(0), old.timeline);
}

// Where the timeline of the old primary's end is known for certain, who is on a later one has diverged: see judge().
Situation without_diverged(Situation s, const Candidate& old) {
  if (s.old_primary_timeline && !s.recalled) {
    const std::int64_t last = last_timeline(s, old);
    std::erase_if(s.standbys, [&](const Candidate& c) { return c.answered && c.timeline > last; });
  }
  return s;
}

// The lines below the first of a note.
constexpr std::string_view kNames = "synchronous_standby_names ", kPosition = "position ", kTimeline = "timeline ",
                           kNoted = "noted ";

template <typename Number>
bool take_number(std::string_view text, Number& number) {
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && stopped == end && number >= 0;
}

bool take_last_word(Unfinished& out, std::string_view line) {
  const auto rest = [&](std::string_view key) { return line.substr(key.size()); };
  if (line.starts_with(kNames)) {
    out.rule = parse_sync_names(rest(kNames));
    return out.rule.has_value();
  }
  if (line.starts_with(kNoted)) return take_number(rest(kNoted), out.noted_s);
  if (line.starts_with(kTimeline)) return take_number(rest(kTimeline), out.timeline.emplace());
  if (!line.starts_with(kPosition)) return false;
  return take_number(rest(kPosition), out.position.emplace());
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

Verdict judge_resumed(const Situation& situation, NodeId old_primary, bool patient) {
  const auto none = [](NodeId id, const std::string& why) {
    return Verdict{kNoNode, fmt::format("node {} {}", id.value, why)};
  };
  bool still = false;
  for (const Candidate& c : situation.standbys) {
    if (c.primary && c.id != old_primary) return none(c.id, "is out of recovery, but not in use as the primary");
    still |= c.primary;
  }
  if (still) return {old_primary, "it was not stopped"};
  const Candidate* old = answering(situation, old_primary);
  if (!old && patient)
    return {kNoNode, fmt::format("node {}, which was the primary, does not answer", old_primary.value)};
  if (!old) {
    Situation others = situation;
    std::erase_if(others.standbys, [&](const Candidate& c) { return c.id == old_primary; });
    return judge(others);
  }
  const Situation s = without_diverged(situation, *old);
  for (const Candidate& c : s.standbys) {
    if (!c.answered && c.usable) return none(c.id, "does not answer: " + c.trouble);
    if (c.answered && c.receiving) return none(c.id, "receives still");
    if (c.answered && c.timeline > last_timeline(s, *old))
      return none(c.id, fmt::format("is on timeline {}, the old primary was on {}: others may have been at work",
                                    c.timeline, last_timeline(s, *old)));
  }
  const auto lacks_nothing = [&](const Candidate* chosen) {
    return chosen && std::none_of(s.standbys.begin(), s.standbys.end(),
                                  [&](const Candidate& c) { return c.answered && has_more(c, *chosen); });
  };
  const Candidate* wanted = answering(s, s.wanted);
  if (wanted && wanted->usable && lacks_nothing(wanted))
    return {wanted->id, "no commit is missing: it has all that the old primary wrote until its end"};
  if (lacks_nothing(old)) return {old_primary, fmt::format("node {} lacks what it has", s.wanted.value)};
  return {kNoNode, "a node that is down has received more than the others"};
}

bool fed_from_within(const std::vector<Candidate>& standbys) {
  std::size_t receivers = 0, senders = 0;
  for (const Candidate& c : standbys) {
    if (!c.answered) continue;
    receivers += c.receiving ? 1 : 0;
    senders += c.senders;
  }
  return receivers <= senders;
}

bool last_words_count(const Unfinished& unfinished, WallTime now) {
  const std::chrono::sys_seconds noted{std::chrono::seconds(unfinished.noted_s)};
  const auto age = now - noted;
  return age <= kLastWordsCount && age >= -kLastWordsCount;
}

std::string print_unfinished(const Unfinished& u) {
  std::string text = u.to == kNoNode ? fmt::format("failover from {}\n", u.from.value)
                                     : fmt::format("switchover from {} to {}\n", u.from.value, u.to.value);
  if (const auto names = u.rule ? print_sync_names(*u.rule) : std::nullopt)
    text += fmt::format("{}{}\n", kNames, *names);
  if (u.position) text += fmt::format("{}{}\n", kPosition, *u.position);
  if (u.timeline) text += fmt::format("{}{}\n", kTimeline, *u.timeline);
  if (u.noted_s != 0) text += fmt::format("{}{}\n", kNoted, u.noted_s);
  return text;
}

std::optional<Unfinished> parse_unfinished(std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::string line, what, from, to, more;
  std::getline(lines, line);
  std::istringstream in{line};
  Unfinished out;
  in >> what >> from >> out.from.value;
  bool well = in && from == "from" && (what == "failover" || what == "switchover") && out.from.value >= 0;
  if (what == "switchover") {
    in >> to >> out.to.value;
    well = well && in && to == "to" && out.to.value >= 0 && out.from != out.to;
  }
  if (!well || in >> more) return std::nullopt;
  while (std::getline(lines, line))
    if (!take_last_word(out, line)) return std::nullopt;
  return out;
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
