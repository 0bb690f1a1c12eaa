// The file that says that the primary of a built-in switchover is being stopped, or that a primary is lost, until there
// is one again: a proxy that dies meanwhile finds it when it starts, and goes on (cluster::Unfinished).
//
// Shape    set() writes the text, or removes the file; `done` comes when it is on the disk. One piece of
//          work at a time; of what waits meanwhile the last counts.
// Errors   to `done`; words with the path.
// Threads  one loop; the file is written on the BlockingPool. Destroying it gives up.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "monitor/probe.h"

namespace herdgate::monitor {

class SwitchoverNote {
 public:
  using Written = std::function<void(const Result<Done>&)>;
  explicit SwitchoverNote(const ProbeMeans& means) : means_(means) {}
  ~SwitchoverNote() { *alive_ = false; }
  SwitchoverNote(const SwitchoverNote&) = delete;
  SwitchoverNote& operator=(const SwitchoverNote&) = delete;

  void set(std::string path, std::optional<std::string> text, Written done);

 private:
  struct Work {
    std::string path;
    std::optional<std::string> text;  // nullopt: remove it
    Written done;
  };
  void next();
  void ended(const Work& work, const Result<Done>& result);

  ProbeMeans means_;
  std::optional<Work> waiting_;
  bool busy_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::monitor
