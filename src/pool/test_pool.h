// For tests: the pools of two workers in front of a server that is none, on one loop. Every wait ends with an event.
//
// Shape    PoolTest is the fixture: ask() and get() want a link, until() turns the loop. Workers hands from one pool to
//          the other what they post, Asker is one who asked.
// Limits   a condition has kPatience to come true.
// Errors   the test fails.
// Threads  the test's.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/testing.h"
#include "pool/fake_server.h"
#include "pool/pool.h"

namespace herdgate::pool {

struct Workers final : Peers {
  explicit Workers(net::Loop& l) : loop(l) {}
  void post_all_others(WorkerId from, std::function<void(Pool&)> work) override {
    for (std::size_t i = 0; i < pools.size(); ++i) {
      if (static_cast<int>(i) != from.value) post(WorkerId(static_cast<int>(i)), work);
    }
  }
  void post(WorkerId to, std::function<void(Pool&)> work) override {
    loop.post([this, to, work = std::move(work)] { work(*pools[static_cast<std::size_t>(to.value)]); });
  }
  net::Loop& loop;
  std::vector<std::unique_ptr<Pool>> pools;
};

// One who asked.
struct Asker {
  std::optional<Pool::Result> result;
  std::unique_ptr<Pool::Pending> pending;
  ServerLink* link() const { return result && *result ? **result : nullptr; }
  std::string error() const { return result && !*result ? result->error().error.text() : ""; }
};

struct PoolTest : ::testing::Test {
  static constexpr Duration kPatience = std::chrono::seconds(20);
  explicit PoolTest(net::Loop::Kernel kernel = net::Loop::Kernel::epoll) : loop(clock, kernel) {}
  MovableClock clock;
  net::Loop loop;
  net::BlockingPool blocking{1};
  backend::Scratch scratch;
  SilentLog sink;
  Log log{sink};
  Accounts accounts{Limits{.per_node = 1, .per_key = 0}};
  FakeServer server{loop};
  Workers workers{loop};
  config::Settings settings;
  bool other_node = false;  // who asks has one
  std::function<void()> changed = [] {};
  backend::LinkKey ann{NodeId(0), "shop", "ann"}, bob{NodeId(0), "shop", "bob"};

  void SetUp() override {
    server.changed = [this] { changed(); };
    add_worker();
    add_worker();
  }
  void TearDown() override { workers.pools.clear(); }

  void add_worker() {
    workers.pools.push_back(
        std::make_unique<Pool>(Pool::Wiring{.loop = loop,
                                            .blocking = blocking,
                                            .names = blocking,
                                            .scratch = scratch,
                                            .accounts = accounts,
                                            .peers = workers,
                                            .worker = WorkerId(static_cast<int>(workers.pools.size())),
                                            .log = log,
                                            .node_trouble = [](NodeId, const std::string&, std::string_view) {},
                                            .node_reached = [](NodeId) {}}));
    configure();
  }
  Pool& pool(int worker = 0) { return *workers.pools[static_cast<std::size_t>(worker)]; }
  void configure(cluster::NodeStatus status = cluster::NodeStatus::waiting) {
    auto view = std::make_shared<cluster::View>();
    cluster::Node node;
    node.id = NodeId(0);
    node.host = "127.0.0.1";
    node.port = server.port();
    node.status = status;
    view->nodes.push_back(node);
    for (auto& each : workers.pools) each->configure(std::make_shared<config::Settings>(settings), view);
  }
  // Runs the loop until the condition holds; it is looked at after everything that happens.
  void until(const std::function<bool()>& condition) {
    bool late = false;
    Duration left = kPatience + clock.ahead;
    const net::TimerId guard = loop.after(left, [&] {
      late = true;
      loop.stop();
    });
    changed = [&] {
      if (condition()) loop.stop();
    };
    loop.defer([this] { changed(); });
    loop.run();
    loop.cancel(guard);
    changed = [] {};
    ASSERT_FALSE(late);
  }
  // Everything that is on its way now has been dealt with.
  void settle() {
    int turns = 0;
    std::function<void()> again = [&] {
      if (++turns < 20) return loop.post([&] { again(); });
      loop.stop();
    };
    loop.post([&] { again(); });
    loop.run();
  }
  void later(Duration time) { clock.ahead += time; }
  std::unique_ptr<Asker> ask(const backend::LinkKey& key, int worker = 0, Deadline deadline = Deadline::never(),
                             bool at_once = false, bool fresh = false) {
    auto asker = std::make_unique<Asker>();
    Pool::Ask what;
    what.pool = pool(worker).key_pool(key);
    what.credentials = auth::Credentials{};
    what.credentials->user = key.user;
    what.deadline = deadline;
    what.at_once = at_once;
    what.fresh = fresh;
    what.other_node = other_node;
    asker->pending = pool(worker).request(std::move(what), [this, raw = asker.get()](Pool::Result result) {
      raw->result = std::move(result);
      loop.defer([this] { changed(); });
    });
    return asker;
  }
  // As sessions do: an idle link of this worker, else one that is opened or waited for.
  ServerLink* get(const backend::LinkKey& key, int worker = 0) {
    if (ServerLink* idle = pool(worker).try_take(*pool(worker).key_pool(key))) return idle;
    const auto asker = ask(key, worker);
    until([&] { return asker->result.has_value(); });
    EXPECT_EQ(asker->error(), "");
    return asker->link();
  }
};

}  // namespace herdgate::pool
