#include "monitor/errands.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace herdgate::monitor {
namespace {

const char* name_of(cluster::RunCommand::Kind kind) {
  static constexpr const char* kNames[] = {"failover_command", "failback_command", "follow_primary_command"};
  return kNames[static_cast<int>(kind)];
}

}  // namespace

Errands::Errands(net::Loop& loop, Log& log, Hooks hooks) : loop_(loop), log_(log), hooks_(std::move(hooks)) {}

Errands::~Errands() {
  *alive_ = false;
  for (const auto& [kind, timer] : alarms_) loop_.cancel(timer);
}

void Errands::say(Level level, const std::string& text, const std::string& detail) {
  log_.write(who_, LogLine{.level = level, .text = text, .detail = detail});
}

void Errands::ask(ProbeTarget target) {
  if (questions_.count(target.node)) return;
  target.connect_limit = std::min(target.connect_limit, kAskLimit);
  target.whole_limit = std::min(target.whole_limit, kAskLimit);
  const NodeId node = target.node;
  questions_[node] = hooks_.probe(target, [this, alive = alive_, node](const Answer& answer) {
    if (*alive) answered(node, answer);
  });
}

void Errands::answered(NodeId node, const Answer& answer) {
  // The probe is calling us: it goes when its call has returned.
  if (const auto question = questions_.extract(node)) loop_.defer([held = question.mapped()] {});
  hooks_.learn(node, answer);
  hooks_.feed(cluster::Answered{node, answer.outcome, answer.in_recovery, answer.text, answer.nameless});
}

void Errands::run(const cluster::RunCommand& command, Duration limit) {
  say(Level::log, "execute command: " + command.line);
  const auto script = running_.insert(running_.end(), nullptr);
  ScriptEvents events;
  events.line = [this, kind = command.kind](const std::string& line) {
    say(Level::log, fmt::format("{}: {}", name_of(kind), line));
  };
  events.ended = [this, command, script](const ScriptEnd& end) { ended(command, script, end); };
  events.closed = [this, script] {
    // It is calling us: it goes when its call has returned.
    loop_.defer([held = std::shared_ptr<Script>(std::move(*script))] {});
    lingering_.erase(script);
  };
  *script = start_script(loop_, command.line, limit, std::move(events));
}

void Errands::ended(const cluster::RunCommand& command, Scripts::iterator script, const ScriptEnd& end) {
  const std::string text = fmt::format("{} for node {}", name_of(command.kind), command.node.value);
  if (end.well())
    say(Level::log, text + " ended with exit code 0");
  else
    say(Level::warning, text + " failed", end.text() + ".");
  lingering_.splice(lingering_.end(), running_, script);
  if (lingering_.size() > kMaxLingering) {
    loop_.defer([held = std::shared_ptr<Script>(std::move(lingering_.front()))] {});
    lingering_.pop_front();
  }
  hooks_.feed(cluster::CommandEnded{command.kind, command.node});
}

void Errands::alarm(const cluster::Alarm& alarm) {
  net::TimerId& timer = alarms_[alarm.kind];
  loop_.cancel(timer);
  timer = loop_.after(alarm.after, [this, kind = alarm.kind, operation = alarm.operation] {
    alarms_.erase(kind);
    hooks_.feed(cluster::AlarmRang{kind, operation});
  });
}

}  // namespace herdgate::monitor
