// What a proxy that died had sent is carried out by its server all the same. So a start finds the whole query cache in
// doubt, until the node that writes go to says that nothing of before is at work there any more.
//
// Shape    begin() when the clients' places are ours, so that none of them is another proxy's. look() asks for the
//          first time and calls back when it is answered: on an idle server the cache is in use before the first client
//          comes. Then each kAskAgain. At the end what was learned of the catalog meanwhile is forgotten too. In shmem
//          the doubt is held here; in memcached the first worker holds a mark for it.
// Limits   kAskLimit for a question with its login; kLasts for all.
// Errors   whoever cannot be asked has not said it; each kind of cause is one line in the log.
// Threads  the control thread.
// Source   monitor/old_work.h; docs/compat.md, "Query cache".
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "monitor/old_work.h"
#include "monitor/question.h"
#include "session/worker.h"

namespace herdgate::server {

class StartDoubt {
 public:
  static constexpr Duration kAskLimit = std::chrono::seconds(3), kAskAgain = std::chrono::seconds(1);
  static constexpr Duration kLasts = cache::Doubt::kUnknownLingers;
  struct Whom {
    NodeId node;                                 // kNoNode: not known
    std::optional<monitor::ProbeTarget> target;  // nullopt: nobody is named who could ask
  };

  StartDoubt(const monitor::ProbeMeans& means, session::Shared& shared, session::Workers& workers,
             std::function<Whom()> whom);
  ~StartDoubt();
  StartDoubt(const StartDoubt&) = delete;
  StartDoubt& operator=(const StartDoubt&) = delete;

  void begin();
  void look(std::function<void()> looked);

 private:
  using OldWork = monitor::OldWork;
  void ask();
  backend::Client& client(const monitor::ProbeTarget& target);
  void answered(NodeId node, OldWork said);
  void not_over(const std::string& kind, const std::string& text, const std::string& detail);
  void asked();
  void end(const char* why);

  monitor::ProbeMeans means_;
  session::Shared& shared_;
  session::Workers& workers_;
  std::function<Whom()> whom_;
  bool lasts_ = false;
  TimePoint began_{};
  cache::Doubt doubt_;
  std::function<void()> looked_;
  monitor::ProbeTarget asked_;  // … by client_
  std::unique_ptr<backend::Client> client_;
  net::TimerId again_ = 0, limit_ = 0;
  std::set<std::string> said_;  // kinds of causes
};

}  // namespace herdgate::server
