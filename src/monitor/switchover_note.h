// The file that says that the primary of a built-in switchover is being stopped, or that a primary is lost, until there
// is one again: a proxy that dies meanwhile finds it when it starts, and goes on (cluster::Unfinished).
//
// Shape    set() writes the text, or removes the file; each `done` comes, when that is on the disk. settled() waits for
//          all that was set. One piece of work at a time, in order.
// Limits   kMaxWaiting pieces of work wait.
// Errors   to `done`; words with the path.
// Threads  one loop; the file is written on the BlockingPool. Destroying it gives up.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "monitor/probe.h"

namespace herdgate::monitor {

class SwitchoverNote {
 public:
  static constexpr std::size_t kMaxWaiting = 8;
  using Written = std::function<void(const Result<Done>&)>;
  explicit SwitchoverNote(const ProbeMeans& means) : means_(means) {}
  ~SwitchoverNote() { *alive_ = false; }
  SwitchoverNote(const SwitchoverNote&) = delete;
  SwitchoverNote& operator=(const SwitchoverNote&) = delete;

  void set(std::string path, std::optional<std::string> text, Written done);
  // When nothing is under way any more, whether it went well or not, or after `limit`: a disk that hangs holds nobody
  // up.
  void settled(Duration limit, std::function<void()> then);

 private:
  struct Work {
    std::string path;
    std::optional<std::string> text;  // nullopt: remove it
    Written done;
  };
  void next();
  void refuse(std::shared_ptr<const Work> work);
  void ended(const Work& work, const Result<Done>& result);

  ProbeMeans means_;
  std::deque<std::shared_ptr<const Work>> waiting_;
  std::vector<std::function<void()>> patient_;  // whom settled() has still to call
  bool busy_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::monitor
