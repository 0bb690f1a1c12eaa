// What the administration may ask of the running server. The server implements it; tests bring their own.
//
// Shape    report() and pause() answer once, on the control loop, later. The others answer at once: a Refusal holds the
//          words for the asker. stop() only begins to stop. The cluster's one writer is asked through cluster::Control.
// Threads  the control thread.
#pragma once
#include <functional>
#include <optional>

#include "admin/stop_mode.h"
#include "cluster/request.h"
#include "config/settings.h"
#include "report/snapshot.h"

namespace herdgate::admin {

class Services {
 public:
  using Refused = std::optional<cluster::Refusal>;
  virtual ~Services() = default;
  virtual config::SettingsPtr settings() const = 0;
  virtual void report(std::function<void(const report::Server&)> done) = 0;
  virtual cluster::Control& cluster() = 0;
  virtual void stop(StopMode mode) = 0;
  virtual Refused reload() = 0;
  virtual Refused rotate_log() = 0;
  virtual Refused drop_query_cache() = 0;
  // Holds new work or lets it go on, "" = in all databases; answers with what it did when that is in force everywhere.
  using PauseAnswered = std::function<void(Refused, std::string)>;
  virtual void pause(const std::string& database, bool on, PauseAnswered answered) = 0;
};

}  // namespace herdgate::admin
