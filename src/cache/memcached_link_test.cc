// The link over a real socket, with a memcached that says what the test says and a clock that only the test moves: so
// the times it waits are exact however slow the machine is.
#include "cache/memcached_link.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace herdgate::cache {
namespace {

using std::chrono::milliseconds;
using Patience = MemcachedLink::Patience;

struct ManualClock final : Clock {
  TimePoint time{std::chrono::hours(1)};
  TimePoint now() const override { return time; }
  WallTime wall() const override { return {}; }
};

// What a request came to. `ended` counts the calls: it must be one.
struct Outcome {
  int ended = 0;
  MemcachedAnswer answer;
};

struct MemcachedLinkTest : ::testing::Test {
  static constexpr Duration kLook = MemcachedLink::kPatience / 4;  // how often the link looks at its times
  ManualClock clock;
  net::Loop loop{clock};
  net::BlockingPool blocking{1};
  std::string folder;
  std::unique_ptr<net::Listener> listener;
  std::vector<net::Socket> accepted;
  int ups = 0, losses = 0;
  std::vector<std::string> troubles;
  std::unique_ptr<MemcachedLink> link;

  void SetUp() override {
    folder = (std::filesystem::temp_directory_path() / "hg-memcached-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    link = std::make_unique<MemcachedLink>(
        MemcachedLink::Wiring{.loop = loop,
                              .blocking = blocking,
                              .to = {path(), net::Destination::kIsPath},
                              .most_value_bytes = 1000,
                              .hooks = {.up = [this] { ++ups; },
                                        .troubled = [this](const std::string& why) { troubles.push_back(why); },
                                        .lost = [this] { ++losses; }}});
  }
  void TearDown() override {
    link.reset();
    listener.reset();
    std::filesystem::remove_all(folder);
  }
  std::string path() const { return folder + "/socket"; }
  void listen() {
    auto made = net::Listener::unix_socket(loop, {.path = path(), .group = {}});
    ASSERT_TRUE(made) << made.error().text();
    listener = std::move(*made);
    ASSERT_TRUE(listener->start([this](net::Socket s, const net::Address&) { accepted.push_back(std::move(s)); },
                                [](const Error&) {}));
  }
  void begin() {
    listen();
    link->start();
    turn();
    ASSERT_TRUE(link->up());
    ASSERT_EQ(accepted.size(), 1u);
  }
  // Whatever there is to be done at this moment is done.
  void turn() {
    int turns = 0;
    std::function<void()> again = [&] {
      if (++turns < 8) return loop.post([&] { again(); });
      loop.stop();
    };
    loop.post([&] { again(); });
    loop.run();
  }
  void pass(Duration time) {
    clock.time += time;
    turn();
  }
  void say(ByteView words) {
    ASSERT_EQ(accepted.back().write(loop, words).bytes, words.size());
    turn();
  }
  Bytes heard() {
    char chunk[65536];
    const net::Io io = accepted.back().read(loop, chunk);
    return Bytes(chunk, io.state == net::Io::ok ? io.bytes : 0);
  }
  std::shared_ptr<Outcome> get(std::vector<std::string> keys, Patience patience = Patience::full) {
    MemcachedRequest request;
    request.keys = std::move(keys);
    return ask(std::move(request), patience);
  }
  std::shared_ptr<Outcome> ask(MemcachedRequest request, Patience patience = Patience::full) {
    auto outcome = std::make_shared<Outcome>();
    const bool asked = link->ask(std::move(request), patience, [outcome](MemcachedAnswer answer) {
      ++outcome->ended;
      outcome->answer = std::move(answer);
    });
    if (!asked) return nullptr;
    turn();
    return outcome;
  }
  // It works: what is asked now is answered now.
  void expect_well() {
    heard();
    const auto outcome = get({"well"}, Patience::short_);
    ASSERT_NE(outcome, nullptr);
    EXPECT_EQ(heard(), "get well\r\n");
    say("VALUE well 0 3\r\nyes\r\nEND\r\n");
    ASSERT_EQ(outcome->ended, 1);
    EXPECT_EQ(outcome->answer.values[0], "yes");
  }
  void expect_connects_anew() {
    EXPECT_FALSE(link->up());
    pass(MemcachedLink::kAgainAfter - milliseconds(1));
    EXPECT_FALSE(link->up());
    pass(milliseconds(1));
    ASSERT_TRUE(link->up());
    EXPECT_EQ(accepted.size(), 2u);
    expect_well();
  }
};

TEST_F(MemcachedLinkTest, AnswersComeInOrderEachToItsOwn) {
  begin();
  MemcachedRequest request;
  request.set("a", 0, "one");
  request.increase("n", 5);
  request.keys = {"a", "gone", "n"};
  const auto first = ask(std::move(request));
  const auto second = get({"b"});
  EXPECT_EQ(heard(), "set a 0 0 3\r\none\r\nincr n 5\r\nget a gone n\r\nget b\r\n");
  for (const char octet : std::string_view("STORED\r\n12\r\nVALUE a 0 3\r\none\r\nVALUE n 0 2\r\n12\r\nEND\r\nEN"))
    say({&octet, 1});
  ASSERT_EQ(first->ended, 1);
  EXPECT_TRUE(first->answer.ok);
  EXPECT_EQ(first->answer.lines[0].kind, MemcachedReply::stored);
  EXPECT_EQ(first->answer.lines[1].count, 12u);
  EXPECT_EQ(first->answer.values, (std::vector<std::optional<Bytes>>{"one", std::nullopt, "12"}));
  EXPECT_EQ(second->ended, 0);
  say("D\r\n");
  ASSERT_EQ(second->ended, 1);
  EXPECT_EQ(second->answer.values[0], std::nullopt);
  EXPECT_TRUE(link->quiet());
}

TEST_F(MemcachedLinkTest, ALookUpWaitsForAHundredMilliseconds) {
  begin();
  const auto slow = get({"a"}, Patience::short_);
  pass(MemcachedLink::kPatience - milliseconds(1));
  EXPECT_EQ(slow->ended, 0);
  pass(kLook);
  ASSERT_EQ(slow->ended, 1);
  EXPECT_FALSE(slow->answer.ok);
  EXPECT_TRUE(link->up());
  EXPECT_EQ(troubles, std::vector<std::string>{"no answer within 100 ms"});
  // None is tried for a second, what must be said is, and the late reply is nobody's.
  EXPECT_EQ(get({"b"}, Patience::short_), nullptr);
  const auto must = get({"c"});
  ASSERT_NE(must, nullptr);
  say("VALUE a 0 4\r\nlate\r\nEND\r\nVALUE c 0 4\r\nmine\r\nEND\r\n");
  EXPECT_EQ(slow->ended, 1);
  ASSERT_EQ(must->ended, 1);
  EXPECT_EQ(must->answer.values[0], "mine");
  pass(MemcachedLink::kSlowFor);
  expect_well();
}

TEST_F(MemcachedLinkTest, AWriteWaitsForHalfASecond) {
  begin();
  MemcachedRequest request;
  request.increase("n", 1);
  const auto mark = ask(std::move(request));
  const auto behind = get({"a"});
  pass(MemcachedLink::kGivesUp - milliseconds(1));
  EXPECT_EQ(mark->ended, 0);
  pass(kLook);
  EXPECT_EQ(mark->ended, 1);
  EXPECT_FALSE(mark->answer.ok);
  EXPECT_EQ(behind->ended, 1) << "whatever is behind it goes with it";
  EXPECT_EQ(losses, 1);
  EXPECT_EQ(troubles, std::vector<std::string>{"no answer within 500 ms"});
  EXPECT_EQ(get({"b"}), nullptr);
  expect_connects_anew();
  EXPECT_EQ(mark->ended, 1);
}

// The process stood still: what came in meanwhile counts as having come in time.
TEST_F(MemcachedLinkTest, WhoComesLateHimselfReadsFirst) {
  begin();
  const auto outcome = get({"a"}, Patience::short_);
  const std::string_view reply = "END\r\n";
  ASSERT_EQ(accepted.back().write(loop, reply).bytes, reply.size());
  pass(std::chrono::seconds(10));
  ASSERT_EQ(outcome->ended, 1);
  EXPECT_TRUE(outcome->answer.ok);
  EXPECT_EQ(losses, 0);
  expect_well();
}

TEST_F(MemcachedLinkTest, WhatIsNoReplyEndsTheConnection) {
  for (const std::string_view words : {"HTTP/1.1 400 Bad Request\r\n", "VALUE b 0 1\r\nx\r\nEND\r\n", "STORED\r\n",
                                       "VALUE a 0 2000\r\n", "END\r\nEND\r\n"}) {
    accepted.clear();
    link.reset();
    losses = 0;
    SetUp();
    begin();
    const auto outcome = get({"a"});
    say(words);
    EXPECT_EQ(outcome->ended, 1) << words;
    EXPECT_EQ(losses, 1) << words;
    expect_connects_anew();
    listener.reset();
    std::filesystem::remove_all(folder);
  }
}

TEST_F(MemcachedLinkTest, ALineThatAValueTakesThePlaceOf) {
  begin();
  MemcachedRequest request;
  request.increase("n", 1);
  const auto outcome = ask(std::move(request));
  say("VALUE n 0 1\r\n7\r\nEND\r\n");
  EXPECT_EQ(outcome->ended, 1);
  EXPECT_FALSE(outcome->answer.ok);
  expect_connects_anew();
}

TEST_F(MemcachedLinkTest, ARefusalIsAnAnswer) {
  begin();
  MemcachedRequest request;
  request.set("a", 0, "x");
  request.keys = {"b"};
  const auto outcome = ask(std::move(request));
  say("SERVER_ERROR out of memory storing object\r\nSERVER_ERROR out of memory writing get response\r\n");
  ASSERT_EQ(outcome->ended, 1);
  EXPECT_TRUE(outcome->answer.ok);
  EXPECT_EQ(outcome->answer.lines[0].kind, MemcachedReply::refused);
  EXPECT_EQ(outcome->answer.values[0], std::nullopt);
  EXPECT_EQ(losses, 0);
  expect_well();
}

TEST_F(MemcachedLinkTest, ItClosesTheConnection) {
  begin();
  const auto first = get({"a"}), second = get({"b"}, Patience::short_);
  say("VALUE a 0 1\r\nx");
  accepted.back().close();
  turn();
  EXPECT_EQ(first->ended, 1);
  EXPECT_EQ(second->ended, 1);
  EXPECT_FALSE(first->answer.ok || second->answer.ok);
  expect_connects_anew();
}

TEST_F(MemcachedLinkTest, NobodyIsThere) {
  link->start();
  turn();
  EXPECT_FALSE(link->up());
  EXPECT_EQ(troubles.size(), 1u);
  EXPECT_EQ(get({"a"}), nullptr);
  listen();
  pass(MemcachedLink::kAgainAfter);
  EXPECT_TRUE(link->up());
  EXPECT_EQ(ups, 1);
  expect_well();
}

TEST_F(MemcachedLinkTest, TheQueueHasAnEnd) {
  begin();
  std::size_t asked = 0;
  const auto one = [&] {
    MemcachedRequest request;
    request.keys = {"a"};
    return link->ask(std::move(request), Patience::full, nullptr);
  };
  while (asked <= MemcachedLink::kMaxRequests && one()) ++asked;
  EXPECT_EQ(asked, MemcachedLink::kMaxRequests);
  turn();
  say("END\r\n");
  EXPECT_TRUE(one());
}

}  // namespace
}  // namespace herdgate::cache
