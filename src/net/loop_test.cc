#include "net/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "net/test_kernel.h"
#include "net/timers.h"

namespace herdgate::net {
namespace {
using namespace std::chrono_literals;

class Probe final : public Watcher {
 public:
  explicit Probe(std::function<void(unsigned)> work) : work_(std::move(work)) {}
  void on_ready(unsigned ready) override { work_(ready); }

 private:
  std::function<void(unsigned)> work_;
};

struct Pair {
  Pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()), 0); }
  ~Pair() {
    ::close(fds[0]);
    ::close(fds[1]);
  }
  std::array<int, 2> fds{};
};

class LoopTest : public OnEachKernel {};

TEST_P(LoopTest, TellsReadableWritableAndHangup) {
  Pair pair;
  std::vector<unsigned> seen;
  Probe probe([&](unsigned ready) {
    seen.push_back(ready);
    if (seen.size() == 1) {
      EXPECT_EQ(::write(pair.fds[1], "x", 1), 1);
    } else if (seen.size() == 2) {
      EXPECT_EQ(::shutdown(pair.fds[1], SHUT_WR), 0);
    }
    if (seen.size() == 3) loop.stop();
  });
  ASSERT_TRUE(loop.watch(pair.fds[0], probe, Loop::Trigger::edges));
  run();
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0], kWritable);
  EXPECT_TRUE(seen[1] & kReadable);
  EXPECT_FALSE(seen[1] & kHangup);
  EXPECT_TRUE(seen[2] & kHangup);
  loop.unwatch(pair.fds[0]);
}

// By io_uring it is always ready, and its owner's read fails.
TEST_P(LoopTest, RefusesWhatTheKernelCannotWatch) {
  Probe probe([&](unsigned ready) {
    EXPECT_TRUE(ready & kReadable);
    loop.stop();
  });
  const int fd = ::open("/", O_RDONLY);
  if (loop.watch(fd, probe)) {
    EXPECT_EQ(loop.kernel(), Loop::Kernel::io_uring);
    run();
    loop.forget(fd);
  }
  ::close(fd);
}

// Both descriptors are ready in one batch. Whoever comes first takes the other away and puts a new watcher in its
// place.
TEST_P(LoopTest, DropsAnEventOfADescriptorThatWasReusedInTheSameBatch) {
  Pair a, b;
  int stale = 0, served = 0;
  Probe successor([&](unsigned ready) {
    // Its own first event may come, but in a later batch, and it knows nothing of the octet sent before.
    if (ready & kReadable) ++stale;
    loop.stop();
  });
  std::unique_ptr<Probe> first, second;
  const auto take_over = [&](int other) {
    ++served;
    loop.unwatch(other);
    Pair fresh;
    ASSERT_EQ(::dup2(fresh.fds[0], other), other);
    ASSERT_TRUE(loop.watch(other, successor));
  };
  first = std::make_unique<Probe>([&](unsigned) { take_over(b.fds[0]); });
  second = std::make_unique<Probe>([&](unsigned) { take_over(a.fds[0]); });
  ASSERT_EQ(::write(a.fds[1], "x", 1), 1);
  ASSERT_EQ(::write(b.fds[1], "x", 1), 1);
  ASSERT_TRUE(loop.watch(a.fds[0], *first));
  ASSERT_TRUE(loop.watch(b.fds[0], *second));
  run();
  EXPECT_EQ(served, 1);
  loop.unwatch(a.fds[0]);
  loop.unwatch(b.fds[0]);
}

// The kernel drops a closed descriptor by itself; its number may be watched anew at once.
TEST_P(LoopTest, AForgottenAndClosedDescriptorIsFreeForTheNext) {
  Pair old;
  Probe gone([](unsigned) { ADD_FAILURE() << "an event for the descriptor that was closed"; });
  ASSERT_TRUE(loop.watch(old.fds[0], gone));
  loop.forget(old.fds[0]);
  loop.forget(old.fds[0]);
  Pair fresh;
  ASSERT_EQ(::dup2(fresh.fds[0], old.fds[0]), old.fds[0]);  // closes the old one
  int served = 0;
  Probe next([&](unsigned ready) {
    if (ready & kReadable) ++served, loop.stop();
  });
  ASSERT_TRUE(loop.watch(old.fds[0], next));
  ASSERT_EQ(::write(fresh.fds[1], "x", 1), 1);
  run();
  EXPECT_EQ(served, 1);
  loop.unwatch(old.fds[0]);
}

TEST_P(LoopTest, DropsAnEventOfADescriptorThatWasUnwatchedInTheSameBatch) {
  Pair a, b;
  int calls = 0;
  Probe probe([&](unsigned) {
    ++calls;
    loop.unwatch(a.fds[0]);
    loop.unwatch(b.fds[0]);
    loop.after(0ms, [&] { loop.stop(); });
  });
  ASSERT_TRUE(loop.watch(a.fds[0], probe, Loop::Trigger::edges));
  ASSERT_TRUE(loop.watch(b.fds[0], probe, Loop::Trigger::edges));
  run();
  EXPECT_EQ(calls, 1);
}

TEST_P(LoopTest, DeferredWorkRunsBeforeTheNextWait) {
  std::vector<int> order;
  std::uint64_t waits_at_timer = 0;
  loop.after(0ms, [&] {
    waits_at_timer = loop.counters().waits;
    loop.defer([&] {
      order.push_back(2);
      loop.defer([&] { order.push_back(3); });
    });
    order.push_back(1);
    loop.stop();
  });
  run();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(loop.counters().waits, waits_at_timer);
}

TEST_P(LoopTest, DeferredBeforeTheRunIsNotForgotten) {
  loop.defer([&] { loop.stop(); });
  run();
}

TEST_P(LoopTest, TimersFireInOrderOfTimeAndThenOfSetting) {
  std::vector<int> order;
  loop.defer([&] {  // within one turn, so that all count from the same moment
    loop.after(3ms, [&] { loop.stop(); });
    loop.after(2ms, [&] { order.push_back(3); });
    loop.after(1ms, [&] { order.push_back(1); });
    const TimerId gone = loop.after(1ms, [&] { order.push_back(99); });
    loop.after(1ms, [&] { order.push_back(2); });
    loop.cancel(gone);
    loop.cancel(gone);
    loop.cancel(0);
  });
  run();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_P(LoopTest, ATimerMayCancelAnotherThatIsDueAtTheSameTime) {
  int fired = 0;
  TimerId second = 0;
  loop.after(1ms, [&] { loop.cancel(second); });
  second = loop.after(1ms, [&] { ++fired; });
  loop.after(2ms, [&] { loop.stop(); });
  run();
  EXPECT_EQ(fired, 0);
}

// A timer of no delay that sets itself again must not keep the sockets from their turn.
TEST_P(LoopTest, AnEndlessChainOfTimersLetsEventsThrough) {
  Pair pair;
  std::function<void()> again = [&] { loop.after(0ms, again); };
  again();
  Probe probe([&](unsigned ready) {
    if (ready & kReadable) return loop.stop();
    EXPECT_EQ(::write(pair.fds[1], "x", 1), 1);
  });
  ASSERT_TRUE(loop.watch(pair.fds[0], probe, Loop::Trigger::edges));
  run();
  loop.unwatch(pair.fds[0]);
}

TEST_P(LoopTest, DelaysWithoutEndDoNotOverflow) {
  loop.after(Duration::max(), [] { FAIL(); });
  loop.after(1ms, [&] { loop.stop(); });
  run();
}

TEST_P(LoopTest, PostsComeInOrderFromManyThreads) {
  constexpr int kThreads = 4, kEach = 2000;
  std::array<int, kThreads> next{};
  int left = kThreads * kEach;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        loop.post([&, t, i] {
          EXPECT_EQ(next[static_cast<std::size_t>(t)]++, i);
          if (--left == 0) loop.stop();
        });
      }
    });
  }
  run();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(left, 0);
  EXPECT_EQ(loop.counters().posts, static_cast<std::uint64_t>(kThreads * kEach));
}

TEST_P(LoopTest, AStopBeforeTheRunIsKept) {
  loop.stop();
  run();
  EXPECT_EQ(loop.counters().waits, 0u);
}

// An idle loop sleeps: the only waits are those that something ended, and be it that a ring of an earlier test is taken
// down.
TEST_P(LoopTest, AnIdleLoopDoesNotPoll) {
  loop.after(30ms, [&] { loop.stop(); });
  run();
  EXPECT_LE(loop.counters().waits, 10u);
}

TEST(Timers, TenThousandSetAndCancelledLeaveNothingBehind) {
  Timers timers;
  const TimePoint start{};
  std::vector<Timers::Id> ids;
  for (int i = 0; i < 10'000; ++i) ids.push_back(timers.add(start + std::chrono::seconds(i * 7919 % 10'000), [] {}));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i % 100 != 0) timers.remove(ids[i]);
  }
  EXPECT_EQ(timers.size(), 100u);
  TimePoint last{};
  while (!timers.empty()) {
    EXPECT_GE(timers.next(), last);
    last = timers.next();
    EXPECT_TRUE(timers.take_due(last, timers.mark()));
  }
  for (const auto id : ids) timers.remove(id);
  EXPECT_TRUE(timers.empty());
}

TEST(Timers, AnOldIdDoesNotReachTheNextUserOfItsPlace) {
  Timers timers;
  const auto old = timers.add(TimePoint{}, [] {});
  timers.remove(old);
  timers.add(TimePoint{}, [] {});
  timers.remove(old);
  EXPECT_EQ(timers.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Each, LoopTest, kKernels, kernel_name);

}  // namespace
}  // namespace herdgate::net
