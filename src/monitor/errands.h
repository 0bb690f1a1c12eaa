// Carries out what the cluster machine wants done outside: scripts, questions to nodes at once, alarms.
//
// Shape    each call starts something; its end comes back through `feed` as the event the machine expects.
// Limits   one question per node at a time, kAskLimit each; failover_command and failback_command run for at most
//          failover_command_timeout, follow_primary_command for follow_primary_command_timeout; kMaxLingering ended
//          scripts are listened to while processes they left behind still write.
// Errors   a script that fails is a WARNING with its exit code; the failover goes on, as with Pgpool-II.
// Threads  one loop; no event comes from within a call.
#pragma once
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "cluster/state.h"
#include "monitor/probe.h"
#include "monitor/script.h"

namespace herdgate::monitor {

// Longer than the machine waits for an answer: what is late is not chosen, but not taken down for it either.
inline constexpr Duration kAskLimit = 2 * cluster::kSuccessorWait;
inline constexpr std::size_t kMaxLingering = 16;

class Errands {
 public:
  struct Hooks {
    std::function<void(const cluster::Event&)> feed;
    std::function<std::unique_ptr<Probing>(const ProbeTarget&, ProbeDone)> probe;
    std::function<void(NodeId, const Answer&)> learn;  // before it is fed
  };
  Errands(net::Loop& loop, Log& log, Hooks hooks);
  ~Errands();
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  void ask(ProbeTarget target);
  void run(const cluster::RunCommand& command, Duration limit);
  void alarm(const cluster::Alarm& alarm);

 private:
  using Scripts = std::list<std::unique_ptr<Script>>;
  void answered(NodeId node, const Answer& answer);
  void ended(const cluster::RunCommand& command, Scripts::iterator script, const ScriptEnd& end);
  void say(Level level, const std::string& text, const std::string& detail = {});

  net::Loop& loop_;
  Log& log_;
  LogContext who_;
  Hooks hooks_;
  std::map<NodeId, std::shared_ptr<Probing>> questions_;
  Scripts running_, lingering_;
  std::map<cluster::Alarm::Kind, net::TimerId> alarms_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::monitor
