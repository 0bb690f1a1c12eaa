#include "server/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "server/errc.h"

namespace herdgate::server {
namespace {

sigset_t our_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
  return set;
}

}  // namespace

void block_signals() {
  const sigset_t set = our_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

Result<std::unique_ptr<SignalWatch>> SignalWatch::start(net::Loop& loop, std::function<void(int)> on_signal) {
  const sigset_t set = our_signals();
  net::Socket descriptor(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!descriptor.open()) return fail(Errc::system_failed, "signalfd: " + std::generic_category().message(errno));
  const int fd = descriptor.fd();
  std::unique_ptr<SignalWatch> watch(new SignalWatch(loop, std::move(descriptor), std::move(on_signal)));
  HG_CHECK(loop.watch(fd, *watch));
  return watch;
}

SignalWatch::~SignalWatch() { loop_.unwatch(descriptor_.fd()); }

void SignalWatch::on_ready(unsigned) {
  std::array<signalfd_siginfo, 8> infos;
  ssize_t got;
  while ((got = ::read(descriptor_.fd(), infos.data(), sizeof infos)) > 0) {
    const std::size_t count = static_cast<std::size_t>(got) / sizeof infos.front();
    for (std::size_t i = 0; i < count; ++i) on_signal_(static_cast<int>(infos[i].ssi_signo));
  }
}

}  // namespace herdgate::server
