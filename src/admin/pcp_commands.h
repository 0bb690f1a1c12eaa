// Carries out PCP requests: each becomes calls of Services and ends in one Answer.
//
// Shape    run(request, answered): `answered` is called exactly once, at once or later, on the control loop.
// Errors   Answer::trouble, in the original's words.
// Threads  the control thread. Whoever calls run() makes sure that `answered` may be called as long as the server
//          lives.
// Source   Pgpool-II 4.6, as its server was seen to answer; manual, "PCP Commands".
#pragma once
#include "admin/services.h"
#include "pcp/message.h"

namespace herdgate::admin {

class PcpCommands {
 public:
  struct Answer {
    Bytes reply;                          // whole frames
    std::optional<pcp::Trouble> trouble;  // instead of a reply
    std::function<void()> afterwards;     // when the answer is on its way; for what ends the server
  };
  using Answered = std::function<void(Answer)>;

  explicit PcpCommands(Services& services) : services_(services) {}
  void run(const pcp::Request& request, Answered answered);

 private:
  void show(const pcp::Request& request, Answered answered);
  void change_node(const pcp::Request& request, Answered answered);
  Answer promote_refusal(const pcp::Request& request, const report::Server& server) const;
  void promote(const pcp::Request& request, Answered answered);
  void recover(const pcp::Request& request, Answered answered);
  void pause(const pcp::Request& request, Answered answered);
  Answer stop(const pcp::Request& request);
  Answer rotate_log(const pcp::Request& request);
  // Some requests do not go together with a failover.
  std::optional<Answer> refusal_while_busy() const;

  Services& services_;
};

// The answers that only show something. Pure.
PcpCommands::Answer shown(const pcp::Request& request, const report::Server& server, const config::Settings& settings);

}  // namespace herdgate::admin
