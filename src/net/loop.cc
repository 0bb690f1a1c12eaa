#include "net/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <vector>

#include "base/assert.h"
#include "base/prefetch.h"
#include "net/errc.h"
#include "net/timers.h"

namespace herdgate::net {
namespace {

constexpr std::uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr std::uint64_t kWakeUp = ~std::uint64_t{0};
// Deferred work that defers more work runs in the same turn, but not without end: the sockets want their turn too.
constexpr int kDeferRounds = 16;
constexpr std::size_t kMaxKeptDeferred = 4096;

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

}  // namespace

struct Loop::State {
  // The generation tells an event that was queued for an earlier owner of the same descriptor number.
  struct Slot {
    Watcher* watcher = nullptr;
    std::uint32_t generation = 0;
  };

  explicit State(const Clock& c) : clock(c), now(c.now()) {}

  void wake();
  int timeout_ms() const;
  void wait();
  void approach(int now_served, int count) const;
  void dispatch(const epoll_event& event);
  bool drop(int fd);  // false: it was not watched
  void run_posts();
  void run_timers();
  void run_deferred();

  const Clock& clock;
  TimePoint now;
  int ready_now = 0;
  int epoll_fd = -1, event_fd = -1;
  bool running = false;
  LoopCounters counters;
  std::vector<Slot> slots;  // by descriptor
  Timers timers;
  std::vector<std::function<void()>> deferred, deferred_now;  // two, in turn: neither gives its memory back
  std::array<epoll_event, kEventsPerWait> events;

  std::mutex mutex;
  std::vector<std::function<void()>> posted;  // guarded by mutex
  // Between `asleep` and `something_posted` no wake-up is lost: each side writes its own, then reads the other's.
  std::atomic<bool> asleep{false}, something_posted{false}, stopped{false};
};

// A write to an edge-triggered eventfd is an event of its own whether or not the earlier ones were read, so nobody
// reads it. Only a loop that sleeps is woken: a busy one looks for posts before it waits.
void Loop::State::wake() {
  if (!asleep.exchange(false)) return;
  const std::uint64_t one = 1;
  while (::write(event_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

int Loop::State::timeout_ms() const {
  if (!deferred.empty() || something_posted.load() || stopped.load()) return 0;
  if (timers.empty()) return -1;
  const Duration left = timers.next() - clock.now();
  if (left <= Duration::zero()) return 0;
  // Rounded up: a wait that ends early would only be repeated. A day at most, so that it fits an int.
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(std::min<Duration>(left, std::chrono::hours(24)));
  return static_cast<int>(ms.count());
}

void Loop::State::wait() {
  asleep.store(true);
  const int timeout = timeout_ms();
  ++counters.waits;
  const int count = ::epoll_wait(epoll_fd, events.data(), kEventsPerWait, timeout);
  asleep.store(false);
  HG_ASSERT(count >= 0 || errno == EINTR);
  now = clock.now();
  ready_now = std::max(count, 0);
  for (int i = 0; i < count; ++i) {
    approach(i, count);
    dispatch(events[static_cast<std::size_t>(i)]);
  }
}

// While one is served, the memory of the next ones comes nearer.
void Loop::State::approach(int now_served, int count) const {
  const auto after = [&](int others) -> const Watcher* {
    if (now_served + others >= count) return nullptr;
    const std::uint64_t mark = events[static_cast<std::size_t>(now_served + others)].data.u64;
    return mark == kWakeUp ? nullptr : slots[static_cast<std::uint32_t>(mark)].watcher;
  };
  if (const Watcher* third = after(3)) prefetch(third, 1);
  if (const Watcher* second = after(2)) second->approach(2);
  if (const Watcher* next = after(1)) next->approach(1);
}

void Loop::State::dispatch(const epoll_event& event) {
  if (event.data.u64 == kWakeUp) return;
  const auto fd = static_cast<std::uint32_t>(event.data.u64);
  const Slot& slot = slots[fd];
  if (slot.watcher == nullptr || slot.generation != event.data.u64 >> 32) return;
  ++counters.events;
  slot.watcher->on_ready(ready_of(event.events));
}

bool Loop::State::drop(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (fd < 0 || index >= slots.size() || slots[index].watcher == nullptr) return false;
  slots[index].watcher = nullptr;
  // The generation shares 64 bits with the descriptor, and all ones mean the wake-up; no descriptor is that large.
  ++slots[index].generation;
  return true;
}

void Loop::State::run_posts() {
  if (!something_posted.load(std::memory_order_acquire)) return;
  std::vector<std::function<void()>> batch;
  {
    const std::lock_guard lock(mutex);
    batch.swap(posted);
    something_posted.store(false);
  }
  counters.posts += batch.size();
  for (auto& work : batch) {
    work();
    work = nullptr;
  }
}

void Loop::State::run_timers() {
  if (timers.empty()) return;
  const std::uint64_t mark = timers.mark();
  while (const auto work = timers.take_due(now, mark)) work();
}

void Loop::State::run_deferred() {
  for (int round = 0; round < kDeferRounds && !deferred.empty(); ++round) {
    deferred_now.swap(deferred);
    for (auto& work : deferred_now) {
      work();
      work = nullptr;
    }
    deferred_now.clear();
  }
  if (deferred_now.capacity() > kMaxKeptDeferred) std::vector<std::function<void()>>().swap(deferred_now);
}

Loop::Loop(const Clock& clock) : state_(std::make_unique<State>(clock)) {
  state_->epoll_fd = ::epoll_create1(EPOLL_CLOEXEC);
  state_->event_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kWakeUp;
  // Without these no loop can exist, and loops are made at start: an error of the start, not of a caller.
  if (state_->epoll_fd < 0 || state_->event_fd < 0 ||
      ::epoll_ctl(state_->epoll_fd, EPOLL_CTL_ADD, state_->event_fd, &event) != 0) {
    const int error = errno;
    ::close(state_->epoll_fd);
    ::close(state_->event_fd);
    throw std::system_error(error, std::generic_category(), "could not create an event loop");
  }
}

Loop::~Loop() {
  ::close(state_->event_fd);
  ::close(state_->epoll_fd);
}

Result<Done> Loop::watch(int fd, Watcher& watcher, Trigger trigger) {
  HG_ASSERT(fd >= 0);
  const auto index = static_cast<std::size_t>(fd);
  if (index >= state_->slots.size()) state_->slots.resize(std::max(index + 1, state_->slots.size() * 2));
  State::Slot& slot = state_->slots[index];
  HG_ASSERT(slot.watcher == nullptr);
  epoll_event event{};
  event.events = trigger == Trigger::edge ? kInterest : static_cast<std::uint32_t>(EPOLLIN);
  event.data.u64 = static_cast<std::uint64_t>(slot.generation) << 32 | static_cast<std::uint32_t>(fd);
  if (::epoll_ctl(state_->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
    return fail(Errc::watch_failed, std::generic_category().message(errno));
  slot.watcher = &watcher;
  return Done{};
}

void Loop::unwatch(int fd) {
  if (state_->drop(fd)) ::epoll_ctl(state_->epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
}

void Loop::forget(int fd) { state_->drop(fd); }

TimerId Loop::after(Duration delay, std::function<void()> work) {
  const TimePoint from = now();
  // Saturates: a delay without end is a timer that never fires.
  const TimePoint at = delay > TimePoint::max() - from ? TimePoint::max() : from + delay;
  return state_->timers.add(at, std::move(work));
}

void Loop::cancel(TimerId id) { state_->timers.remove(id); }

void Loop::defer(std::function<void()> work) { state_->deferred.push_back(std::move(work)); }

void Loop::post(std::function<void()> work) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->posted.push_back(std::move(work));
    state_->something_posted.store(true);
  }
  state_->wake();
}

TimePoint Loop::now() const { return state_->running ? state_->now : state_->clock.now(); }
const Clock& Loop::clock() const { return state_->clock; }
LoopCounters& Loop::counters() { return state_->counters; }
int Loop::ready_now() const { return state_->ready_now; }

void Loop::run() {
  state_->now = state_->clock.now();
  state_->running = true;
  state_->run_deferred();
  while (!state_->stopped.exchange(false)) {
    state_->wait();
    state_->run_posts();
    state_->run_timers();
    state_->run_deferred();
  }
  state_->running = false;
}

void Loop::stop() {
  state_->stopped.store(true);
  state_->wake();
}

}  // namespace herdgate::net
