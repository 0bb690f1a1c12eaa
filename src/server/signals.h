// Signals as events of the control loop.
//
// Shape    block_signals() once, before any thread exists; then a SignalWatch calls back on its loop for each signal.
//          SIGPIPE is ignored. Whoever starts a program must give it an empty mask (posix_spawnattr_setsigmask).
// Threads  the loop's thread.
// Source   signalfd(2).
#pragma once
#include <functional>
#include <memory>

#include "base/result.h"
#include "net/loop.h"
#include "net/socket.h"

namespace herdgate::server {

// SIGTERM, SIGINT, SIGQUIT, SIGHUP, and SIGUSR1 and SIGUSR2, which older scripts may send.
void block_signals();

class SignalWatch final : public net::Watcher {
 public:
  static Result<std::unique_ptr<SignalWatch>> start(net::Loop& loop, std::function<void(int)> on_signal);
  ~SignalWatch() override;
  void on_ready(unsigned ready) override;

 private:
  SignalWatch(net::Loop& loop, net::Socket descriptor, std::function<void(int)> on_signal)
      : loop_(loop), descriptor_(std::move(descriptor)), on_signal_(std::move(on_signal)) {}
  net::Loop& loop_;
  net::Socket descriptor_;  // no socket, but an owner of a descriptor is what is needed
  std::function<void(int)> on_signal_;
};

}  // namespace herdgate::server
