#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "base/assert.h"
#include "net/errc.h"
#include "net/poller.h"

namespace herdgate::net {
namespace {

constexpr std::uint32_t kEvents[] = {EPOLLIN | EPOLLRDHUP | EPOLLET, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                     EPOLLIN};

class EpollPoller final : public Poller {
 public:
  EpollPoller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "could not create an event loop");
  }
  ~EpollPoller() override { ::close(fd_); }
  EpollPoller(const EpollPoller&) = delete;
  EpollPoller& operator=(const EpollPoller&) = delete;

  Result<Done> add(int fd, std::uint64_t mark, Interest interest) override {
    epoll_event event = event_of(mark, interest);
    if (::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) != 0)
      return fail(Errc::watch_failed, std::generic_category().message(errno));
    return Done{};
  }
  void remove(int fd, std::uint64_t) override { ::epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr); }
  void widen(int fd, std::uint64_t, std::uint64_t fresh) override {
    epoll_event event = event_of(fresh, Interest::edges);
    ::epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event);
  }
  void forget(int, std::uint64_t) override {}  // the kernel drops what is closed

  std::span<const Event> wait(int timeout_ms) override {
    const int count = ::epoll_wait(fd_, found_.data(), kEventsPerWait, timeout_ms);
    HG_ASSERT(count >= 0 || errno == EINTR);
    const auto size = static_cast<std::size_t>(std::max(count, 0));
    for (std::size_t i = 0; i < size; ++i) events_[i] = {found_[i].data.u64, ready_of(found_[i].events)};
    return {events_.data(), size};
  }
  std::span<const std::uint64_t> ended() override { return {}; }
  void arm_again(std::uint64_t) override {}
  SendBatch* batch() override { return nullptr; }
  std::span<const SendBatch::Refused> refused() override { return {}; }
  void next() override {}

 private:
  static epoll_event event_of(std::uint64_t mark, Interest interest) {
    epoll_event event{};
    event.events = kEvents[static_cast<int>(interest)];
    event.data.u64 = mark;
    return event;
  }

  int fd_;
  std::array<epoll_event, kEventsPerWait> found_;
  std::array<Event, kEventsPerWait> events_;
};

}  // namespace

unsigned ready_of(std::uint32_t events) {
  unsigned ready = 0;
  if (events & EPOLLIN) ready |= kReadable;
  if (events & EPOLLOUT) ready |= kWritable;
  if (events & EPOLLRDHUP) ready |= kReadable | kHangup;
  // The error itself is learned by the next read or write.
  if (events & (EPOLLHUP | EPOLLERR)) ready |= kReadable | kWritable | kHangup;
  if (events & EPOLLERR) ready |= kBroken;
  return ready;
}

std::unique_ptr<Poller> make_epoll() { return std::make_unique<EpollPoller>(); }

}  // namespace herdgate::net
