#include "net/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <vector>

#include "base/assert.h"
#include "base/prefetch.h"
#include "net/poller.h"
#include "net/timers.h"

namespace herdgate::net {
namespace {

// Deferred work that defers more work runs in the same turn, but not without end: the sockets want their turn too.
constexpr int kDeferRounds = 16;
constexpr std::size_t kMaxKeptDeferred = 4096;

}  // namespace

struct Loop::State {
  // The generation tells an event that was queued for an earlier owner of the same descriptor number.
  struct Slot {
    Watcher* watcher = nullptr;
    std::uint32_t generation = 0;
    std::uint16_t entry = 0;  // of `batch`: what it sends in this turn
    bool input_only = false;  // kWritable is not told yet
    std::uint64_t batch = 0;
  };

  static_assert(sizeof(Slot) <= 24, "there is one for each descriptor, and each event reads one");
  static_assert(SendBatch::kMostEntries <= 1U << 16);

  explicit State(const Clock& c) : clock(c), now(c.now()) {}

  void wake();
  int timeout_ms() const;
  void wait();
  void approach(int now_served, int count) const;
  void dispatch(const Poller::Event& event);
  Watcher* watcher_of(std::uint64_t mark) const;  // null: it is not watched any more
  std::uint64_t mark_of(int fd) const;
  bool sends(const Slot& slot) const { return batch != nullptr && slot.batch == batch->number(); }
  void tell_refused();
  void widen(std::uint32_t index);
  enum class Leaves { open, closing };
  void drop(int fd, Leaves how);
  void run_posts();
  void run_timers();
  void run_deferred();

  const Clock& clock;
  TimePoint now;
  int ready_now = 0;
  std::unique_ptr<Poller> poller;
  SendBatch* batch = nullptr;        // null: there is none
  std::vector<std::uint64_t> later;  // whose send has to wait for the next turn
  std::vector<std::uint32_t> full;   // descriptors whose socket has not taken all: within tell_refused()
  int event_fd = -1;
  bool running = false;
  LoopCounters counters;
  std::vector<Slot> slots;  // by descriptor
  Timers timers;
  std::vector<std::function<void()>> deferred, deferred_now;  // two, in turn: neither gives its memory back
  std::span<const Poller::Event> events;

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
  if (!deferred.empty() || !later.empty() || something_posted.load() || stopped.load()) return 0;
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
  events = poller->wait(timeout);
  asleep.store(false);
  now = clock.now();
  ready_now = static_cast<int>(events.size());
  if (batch != nullptr) tell_refused();
  for (int i = 0; i < ready_now; ++i) {
    approach(i, ready_now);
    dispatch(events[static_cast<std::size_t>(i)]);
  }
  for (const std::uint64_t mark : poller->ended()) {
    if (watcher_of(mark) != nullptr || mark == static_cast<std::uint64_t>(event_fd)) poller->arm_again(mark);
  }
}

void Loop::State::tell_refused() {
  for (const SendBatch::Refused& one : poller->refused()) {
    Watcher* watcher = watcher_of(one.mark);
    if (watcher == nullptr) continue;
    watcher->on_unsent(one.rest, one.errno_value);
    if (one.errno_value == 0) full.push_back(static_cast<std::uint32_t>(one.mark));
  }
  poller->next();  // ahead of all that asks something of the kernel: it takes that for what is left of this batch
  for (const std::uint32_t index : full) widen(index);
  full.clear();
  if (later.empty()) return;
  for (const std::uint64_t mark : std::exchange(later, {})) {
    if (Watcher* watcher = watcher_of(mark)) watcher->on_ready(kWritable);
  }
}

// The new generation keeps apart what is told from now on: that which was ready is told again.
void Loop::State::widen(std::uint32_t index) {
  Slot& slot = slots[index];
  if (slot.watcher == nullptr || !std::exchange(slot.input_only, false)) return;
  const std::uint64_t mark = mark_of(static_cast<int>(index));
  ++slot.generation;
  poller->widen(static_cast<int>(index), mark, mark_of(static_cast<int>(index)));
}

// While one is served, the memory of the next ones comes nearer.
void Loop::State::approach(int now_served, int count) const {
  const auto after = [&](int others) -> const Watcher* {
    if (now_served + others >= count) return nullptr;
    return slots[static_cast<std::uint32_t>(events[static_cast<std::size_t>(now_served + others)].mark)].watcher;
  };
  if (const Watcher* third = after(3)) prefetch(third, 1);
  if (const Watcher* second = after(2)) second->approach(2);
  if (const Watcher* next = after(1)) next->approach(1);
}

Watcher* Loop::State::watcher_of(std::uint64_t mark) const {
  const Slot& slot = slots[static_cast<std::uint32_t>(mark)];
  return slot.generation == mark >> 32 ? slot.watcher : nullptr;
}

std::uint64_t Loop::State::mark_of(int fd) const {
  const auto index = static_cast<std::uint32_t>(fd);
  return std::uint64_t{slots[index].generation} << 32 | index;
}

void Loop::State::dispatch(const Poller::Event& event) {
  Watcher* watcher = watcher_of(event.mark);
  if (watcher == nullptr) return;
  ++counters.events;
  watcher->on_ready(event.ready);
}

// What it has sent in this turn names it by its descriptor, which is somebody else's next.
void Loop::State::drop(int fd, Leaves how) {
  const auto index = static_cast<std::size_t>(fd);
  if (fd < 0 || index >= slots.size() || slots[index].watcher == nullptr) return;
  Slot& slot = slots[index];
  if (sends(slot)) batch->go();
  slot.batch = 0;
  slot.watcher = nullptr;
  if (how == Leaves::closing) {
    poller->forget(fd, mark_of(fd));
  } else {
    poller->remove(fd, mark_of(fd));
  }
  ++slot.generation;
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

// Without these no loop can exist, and loops are made at start: an error of the start, not of a caller.
Loop::Loop(const Clock& clock, Kernel kernel) : state_(std::make_unique<State>(clock)) {
  if (kernel == Kernel::io_uring) {
    if (auto ring = make_ring()) state_->poller = std::move(*ring);
  }
  if (!state_->poller) state_->poller = make_epoll();
  state_->batch = state_->poller->batch();
  state_->event_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const auto index = static_cast<std::size_t>(state_->event_fd);
  // Its events only end a wait: nobody watches.
  if (state_->event_fd < 0 || !state_->poller->add(state_->event_fd, index, Poller::Interest::input_edge)) {
    const int error = errno;
    ::close(state_->event_fd);
    throw std::system_error(error, std::generic_category(), "could not create an event loop");
  }
  state_->slots.resize(index + 1);
}

Loop::~Loop() { ::close(state_->event_fd); }

void Watcher::on_unsent(std::string_view, int) { HG_ASSERT(!"it sends by send_soon() and does not keep what is left"); }

Loop::Kernel Loop::kernel() const { return state_->batch != nullptr ? Kernel::io_uring : Kernel::epoll; }

Result<Done> Loop::watch(int fd, Watcher& watcher, Trigger trigger) {
  HG_ASSERT(fd >= 0);
  const auto index = static_cast<std::size_t>(fd);
  if (index >= state_->slots.size()) state_->slots.resize(std::max(index + 1, state_->slots.size() * 2));
  State::Slot& slot = state_->slots[index];
  HG_ASSERT(slot.watcher == nullptr && !state_->sends(slot));
  constexpr Poller::Interest kInterest[] = {Poller::Interest::input_edge, Poller::Interest::edges,
                                            Poller::Interest::input_level};
  HG_CHECK(state_->poller->add(fd, state_->mark_of(fd), kInterest[static_cast<int>(trigger)]));
  slot.watcher = &watcher;
  slot.input_only = trigger == Trigger::edge;
  return Done{};
}

void Loop::unwatch(int fd) { state_->drop(fd, State::Leaves::open); }

void Loop::forget(int fd) { state_->drop(fd, State::Leaves::closing); }

void Loop::wrote_short(int fd) {
  const auto index = static_cast<std::uint32_t>(fd);
  if (fd >= 0 && index < state_->slots.size()) state_->widen(index);
}

Loop::Queued Loop::queue_send(int fd, std::span<const iovec> pieces, std::size_t total) {
  SendBatch* batch = state_->batch;
  if (batch == nullptr || !state_->running) return Queued::direct;
  const auto index = static_cast<std::size_t>(fd);
  if (fd < 0 || index >= state_->slots.size() || state_->slots[index].watcher == nullptr) return Queued::direct;
  State::Slot& slot = state_->slots[index];
  if (state_->sends(slot)) {
    if (batch->append(slot.entry, pieces, total)) return Queued::queued;
    state_->later.push_back(state_->mark_of(fd));
    return Queued::later;
  }
  if (total > SendBatch::kLongest) return Queued::direct;
  const std::uint32_t entry = batch->begin(fd, state_->mark_of(fd), pieces, total);
  if (entry == SendBatch::kNone) return Queued::direct;
  slot.batch = batch->number();
  slot.entry = static_cast<std::uint16_t>(entry);
  return Queued::queued;
}

void Loop::send_queued(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (fd < 0 || index >= state_->slots.size() || !state_->sends(state_->slots[index])) return;
  const State::Slot& slot = state_->slots[index];
  state_->batch->go();
  SendBatch::Refused what{};
  if (slot.watcher == nullptr || !state_->batch->refused(slot.entry, what)) return;
  if (what.errno_value == 0) wrote_short(fd);
  slot.watcher->on_unsent(what.rest, what.errno_value);
}

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
  if (state_->batch != nullptr) state_->batch->go();
  state_->running = false;
}

void Loop::stop() {
  state_->stopped.store(true);
  state_->wake();
}

}  // namespace herdgate::net
