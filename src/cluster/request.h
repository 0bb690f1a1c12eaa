// What people and tools may ask of the cluster's one writer: attach, detach, promote, recover. PCP and SQL speak to
// this.
//
// Shape    Control's calls answer once, on the control loop, never from within the call. An answer without a Refusal
//          means: accepted and in the queue, or already begun; what follows (commands, the search for a primary) is
//          told by the view and the log. recover() and detach_gracefully() answer when all is finished, and so do a
//          built-in switchover and, under failover_method = builtin, an attach.
// Limits   kMaxDemands requests wait; the next one is refused.
// Errors   Refusal: words for the asker, as Pgpool-II words them.
// Threads  the control thread.
// Source   Pgpool-II 4.6 manual, "PCP Commands".
#pragma once
#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/log.h"

namespace herdgate::cluster {

inline constexpr std::size_t kMaxDemands = 10;

struct Refusal {
  Level level = Level::error;  // fatal: the asker's connection ends
  std::string text, detail;
  bool operator==(const Refusal&) const = default;
};

struct Request {
  enum Kind : std::uint8_t {
    attach,
    detach,
    promote,     // the proxy takes the node for the primary; nothing is done on servers but follow_primary_command
    switchover,  // the current primary is detached, failover_command promotes the node
    quarantine,
  };
  Kind kind = attach;
  NodeId node = kNoNode;
  NodeId follows = kNoNode;  // attach: the primary that it was seen to receive from; void when that is none any more
};

class Control {
 public:
  using Answered = std::function<void(std::optional<Refusal>)>;
  virtual ~Control() = default;
  virtual void request(const Request& request, Answered answered) = 0;
  // Waits until no session works on the node, up to recovery_timeout; then detaches it. The node stays when sessions
  // did not leave in time, and that is no refusal.
  virtual void detach_gracefully(NodeId node, Answered answered) = 0;
  virtual void recover(NodeId node, Answered answered) = 0;  // online recovery
  // The operation under way: "failover", "failback", "promotion", "quarantine"; empty: none. A recovery is none: it
  // waits for long, and what else is asked meanwhile is done.
  virtual std::string busy_with() const = 0;
};

}  // namespace herdgate::cluster
