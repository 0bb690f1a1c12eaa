// Two proxies at one memcached of the test's own, over real sockets, with a clock that only the test moves.
#include "cache/remote.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "base/testing.h"

namespace herdgate::cache {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct ManualClock final : Clock {
  TimePoint time{std::chrono::hours(1)};
  TimePoint now() const override { return time; }
  WallTime wall() const override { return {}; }
};

// What of memcached is used here. While it is frozen it takes nothing and says nothing.
class SmallMemcached {
 public:
  std::map<std::string, Bytes> values;
  bool counts = true;  // false: it refuses to
  Bytes answer_to(Bytes& in) {
    Bytes out;
    for (std::size_t end = in.find("\r\n"); end != Bytes::npos; end = in.find("\r\n")) {
      const std::vector<std::string> words = split(in.substr(0, end));
      std::size_t used = end + 2;
      if (words[0] == "set" || words[0] == "add") {
        const std::size_t size = std::stoul(words[4]);
        if (in.size() < used + size + 2) return out;
        store(words, in.substr(used, size), out);
        used += size + 2;
      } else {
        obey(words, out);
      }
      in.erase(0, used);
    }
    return out;
  }

 private:
  static std::vector<std::string> split(const std::string& line) {
    std::vector<std::string> words;
    std::istringstream stream(line);
    for (std::string word; stream >> word;) words.push_back(word);
    return words;
  }
  void store(const std::vector<std::string>& words, Bytes data, Bytes& out) {
    const bool may = words[0] == "set" || !values.contains(words[1]);
    if (may) values[words[1]] = std::move(data);
    out += may ? "STORED\r\n" : "NOT_STORED\r\n";
  }
  void obey(const std::vector<std::string>& words, Bytes& out) {
    if (words[0] == "get") {
      for (std::size_t i = 1; i < words.size(); ++i) {
        if (const auto at = values.find(words[i]); at != values.end())
          out += fmt::format("VALUE {} 0 {}\r\n{}\r\n", words[i], at->second.size(), at->second);
      }
      out += "END\r\n";
    } else if (words[0] == "incr" && !counts) {
      out += "SERVER_ERROR out of memory\r\n";
    } else if (words[0] == "delete") {
      out += values.erase(words[1]) > 0 ? "DELETED\r\n" : "NOT_FOUND\r\n";
    } else if (const auto at = values.find(words[1]); at != values.end()) {
      at->second = std::to_string(std::stoull(at->second) + std::stoull(words[2]));
      out += at->second + "\r\n";
    } else {
      out += "NOT_FOUND\r\n";
    }
  }
};

struct RemoteTest : ::testing::Test {
  struct Peer {
    net::Socket socket;
    Bytes in;
    bool mute = false;
  };
  ManualClock clock;
  net::Loop loop{clock};
  net::BlockingPool blocking{1};
  LogLines lines;
  Log log{lines};
  std::string folder;
  SmallMemcached memcached;
  bool frozen = false, mute = false;  // all connections; those that are new
  std::unique_ptr<net::Listener> listener;
  std::vector<std::unique_ptr<Peer>> peers;
  Sharing ours, theirs;
  std::unique_ptr<Remote> a, b;

  void SetUp() override {
    folder = (std::filesystem::temp_directory_path() / "hg-remote-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    auto made = net::Listener::unix_socket(loop, {.path = folder + "/socket", .group = {}});
    ASSERT_TRUE(made) << made.error().text();
    listener = std::move(*made);
    const auto accept = [this](net::Socket s, const net::Address&) {
      peers.push_back(std::make_unique<Peer>(Peer{std::move(s), {}, mute}));
    };
    ASSERT_TRUE(listener->start(accept, [](const Error&) {}));
    a = proxy(ours);
    b = proxy(theirs);
    pass(Remote::kTick);
    ASSERT_TRUE(a->usable() && b->usable());
  }
  void TearDown() override {
    a.reset();
    b.reset();
    listener.reset();
    std::filesystem::remove_all(folder);
  }
  std::unique_ptr<Remote> proxy(Sharing& sharing) {
    sharing.to = {folder + "/socket", net::Destination::kIsPath};
    sharing.max_answer_bytes = 1000;
    auto made = std::make_unique<Remote>(loop, blocking, log, sharing);
    made->start();
    turn();
    return made;
  }
  void serve() {
    if (frozen) return;
    for (const auto& peer : peers) {
      if (peer->mute) continue;
      char chunk[65536];
      net::Io io;
      while ((io = peer->socket.read(loop, chunk)).state == net::Io::ok) peer->in.append(chunk, io.bytes);
      const Bytes out = memcached.answer_to(peer->in);
      if (!out.empty()) peer->socket.write(loop, out);
    }
  }
  // All that can be said at this moment is said and answered.
  void turn() {
    int turns = 0;
    std::function<void()> again = [&] {
      serve();
      if (++turns < 24) return loop.post([&] { again(); });
      loop.stop();
    };
    loop.post([&] { again(); });
    loop.run();
  }
  // In steps, as time passes.
  void pass(Duration time) {
    for (constexpr Duration kStep = milliseconds(25); time > Duration::zero(); time -= kStep) {
      clock.time += std::min(time, kStep);
      turn();
    }
  }

  static Fill fill(std::uint32_t table = 7) {
    Fill f;
    f.key = {1, table};
    f.text = {2, table};
    f.database = "d";
    f.tables = {table};
    f.head = "T";
    f.rest = "row";
    return f;
  }
  std::optional<Answer> find(Remote& from, const Fill& what, std::uint64_t* nonce = nullptr) {
    return found(from, what, nonce).value_or(Remote::Found{}).answer;
  }
  // Nothing: it was not asked, or has not answered by now.
  std::optional<Remote::Found> found(Remote& from, const Fill& what, std::uint64_t* nonce) {
    const auto result = std::make_shared<std::optional<Remote::Found>>();
    from.look_up(what.database, {{what.key, what.text}}, [result](std::vector<Remote::Found> all) {
      if (!all.empty()) *result = std::move(all.front());
    });
    turn();
    if (*result && nonce != nullptr) *nonce = (*result)->nonce;
    return *result;
  }
  // A read as a session does it. True: its answer was given away to be kept.
  bool keep(Remote& at, Fill what, std::optional<TimePoint> seen_to = std::nullopt) {
    std::uint64_t nonce = 0;
    found(at, what, &nonce);
    at.learn(what.database, what.key, what.tables, [] {});
    turn();
    what.footing.nonce = nonce;
    what.seen_to = seen_to;
    std::optional<Footing> footing = at.footing(what);
    if (!footing) return false;
    what.footing = std::move(*footing);
    at.put(std::move(what));
    turn();
    return true;
  }
  Remote::Mark mark(Remote& at, std::uint32_t table, int& called) {
    bool waits = false;
    Remote::Mark made = at.mark(
        "d", {{.tables = {table}}}, [&called] { ++called; }, waits);
    if (!waits) ++called;
    turn();
    return made;
  }
  // The name of the counter of everything: who marks everything changes it.
  std::string all_counter() {
    const auto before = memcached.values;
    bool waits = false;
    a->mark(
         "d", {.scope = {.everything = true}}, [] {}, waits)
        .end(/*known=*/true);
    turn();
    for (const auto& [name, value] : memcached.values) {
      if (name.starts_with("hgw") && before.contains(name) && before.at(name) != value) return name;
    }
    return {};
  }
  // Kept by one, answered by the other: its counters are old enough.
  void warm(std::uint32_t table = 7) {
    for (Remote* one : {a.get(), b.get()}) {
      keep(*one, fill(table));  // makes what counters there are not, and sees them the second time
      keep(*one, fill(table));
    }
    pass(Remote::kNewCounterWaits);
    ASSERT_TRUE(keep(*a, fill(table)));
    ASSERT_TRUE(find(*b, fill(table)));
  }
};
TEST_F(RemoteTest, WhatOneKeepsTheOtherAnswers) {
  EXPECT_FALSE(keep(*a, fill())) << "a counter that is new stands for nothing yet";
  warm();
  EXPECT_EQ(find(*b, fill())->rest(), "row");
  EXPECT_FALSE(find(*b, fill(8)));
}

TEST_F(RemoteTest, AMarkOfOneEndsTheEntryForBothUntilItsOutcome) {
  warm();
  warm(8);
  int called = 0;
  {
    Remote::Mark writes = mark(*a, 7, called);
    EXPECT_EQ(called, 1);
    EXPECT_FALSE(find(*a, fill()));
    EXPECT_FALSE(find(*b, fill()));
    EXPECT_FALSE(keep(*b, fill())) << "in doubt";
    EXPECT_TRUE(find(*b, fill(8))) << "another table";
    writes.sent();
    writes.end(/*known=*/true);
    turn();
  }
  EXPECT_FALSE(find(*b, fill()));
  EXPECT_TRUE(keep(*b, fill()));
  EXPECT_TRUE(find(*a, fill()));
}

// A read that began before the change: its footing is of then.
TEST_F(RemoteTest, AnAnswerFromBeforeTheChangeNeverStands) {
  warm();
  Fill early = fill();
  std::uint64_t nonce = 0;
  find(*b, early, &nonce);
  early.footing.nonce = nonce;
  std::optional<Footing> footing = b->footing(early);
  ASSERT_TRUE(footing);
  early.footing = std::move(*footing);
  int called = 0;
  mark(*a, 7, called).end(/*known=*/true);
  turn();
  b->put(std::move(early));
  turn();
  EXPECT_FALSE(find(*a, fill()));
  EXPECT_FALSE(find(*b, fill()));
  EXPECT_TRUE(keep(*b, fill()));
  EXPECT_TRUE(find(*a, fill()));
}

TEST_F(RemoteTest, AnUnknownOutcomeKeepsTheTableOutForItsTime) {
  warm();
  int called = 0;
  {
    Remote::Mark lost = mark(*a, 7, called);
    lost.sent();
  }
  pass(seconds(5));
  EXPECT_FALSE(keep(*b, fill()));
  clock.time += Remote::kDoubtEnds;
  pass(seconds(1));
  warm();
}

// From a standby: it must have replayed what was committed before this value of the counters was seen.
TEST_F(RemoteTest, FromAStandbyOnlyWhatItHadReplayed) {
  warm();
  int called = 0;
  mark(*a, 7, called).end(/*known=*/true);
  turn();
  find(*b, fill());
  const TimePoint seen = clock.time;
  EXPECT_FALSE(keep(*b, fill(), seen));
  EXPECT_TRUE(keep(*b, fill(), seen + milliseconds(1)));
  EXPECT_TRUE(find(*a, fill()));
}

TEST_F(RemoteTest, AReadOfOneThatHangsWaitsForAHundredMilliseconds) {
  warm();
  frozen = true;
  std::optional<bool> hit;
  ASSERT_TRUE(
      a->look_up("d", {{fill().key, fill().text}}, [&hit](std::vector<Remote::Found> all) { hit = !all.empty(); }));
  pass(MemcachedLink::kPatience - milliseconds(25));
  EXPECT_FALSE(hit.has_value());
  pass(milliseconds(50));
  EXPECT_EQ(hit, false);
  EXPECT_FALSE(a->look_up("d", {{fill().key, fill().text}}, [](std::vector<Remote::Found>) {})) << "not again at once";
  frozen = false;
  pass(seconds(2));
  EXPECT_TRUE(find(*a, fill())) << "it recovers";
}

TEST_F(RemoteTest, AWriteAtOneThatHangsWaitsForHalfASecondAndEmptiesTheCacheLater) {
  warm();
  frozen = true;
  int called = 0;
  bool waits = false;
  {
    Remote::Mark writes = a->mark(
        "d", {{.tables = {7}}}, [&called] { ++called; }, waits);
    ASSERT_TRUE(waits);
    pass(MemcachedLink::kGivesUp - milliseconds(50));
    EXPECT_EQ(called, 0);
    pass(milliseconds(100));
    EXPECT_EQ(called, 1) << "it goes ahead";
    EXPECT_FALSE(a->usable());
    frozen = false;
    pass(seconds(2));
    EXPECT_FALSE(find(*b, fill())) << "what was there may be old";
    EXPECT_FALSE(keep(*b, fill()));
    writes.sent();
    writes.end(/*known=*/true);
    pass(seconds(1));
  }
  EXPECT_TRUE(a->usable());
  EXPECT_FALSE(find(*a, fill()));
  warm();
}

TEST_F(RemoteTest, AMarkThatIsRefusedIsPaidByEmptyingTheCache) {
  warm();
  memcached.counts = false;
  int called = 0;
  Remote::Mark writes = mark(*a, 7, called);
  EXPECT_EQ(called, 1) << "it goes ahead";
  EXPECT_FALSE(a->usable()) << "no worker of this process uses the cache meanwhile";
  memcached.counts = true;
  writes.sent();
  writes.end(/*known=*/true);
  turn();
  EXPECT_TRUE(a->usable());
  EXPECT_FALSE(find(*a, fill()));
  EXPECT_FALSE(find(*b, fill()));
  warm();
}

TEST_F(RemoteTest, TheLogSaysItOnceAMinute) {
  warm();
  for (int times = 0; times < 5; ++times) {
    frozen = true;
    pass(seconds(1));
    frozen = false;
    pass(seconds(3));
  }
  EXPECT_EQ(lines.count("memcached is in trouble"), 2u) << lines.text;  // once by each of the proxies
  pass(Remote::kSaysEach);
  frozen = true;
  pass(seconds(1));
  frozen = false;
  pass(seconds(3));
  EXPECT_EQ(lines.count("memcached is in trouble"), 4u) << lines.text;
  EXPECT_TRUE(a->usable() && b->usable());
}

// Two workers of one process, of which one is cut off. The other has it well all the time.
TEST_F(RemoteTest, ItIsBackOnceTheLastWorkerHasItBack) {
  b.reset();
  const std::unique_ptr<Remote> second = proxy(ours);
  pass(Remote::kTick);
  ASSERT_TRUE(second->usable());
  peers.back()->mute = mute = true;
  pass(Remote::kSaysEach + seconds(10));
  EXPECT_TRUE(a->usable());
  EXPECT_EQ(lines.count("memcached is in trouble"), 2u) << lines.text;  // once more after a minute
  EXPECT_EQ(lines.count("memcached is back"), 0u) << lines.text;
  mute = false;
  for (const auto& peer : peers) peer->mute = false;
  pass(seconds(3));
  EXPECT_TRUE(a->usable() && second->usable());
  EXPECT_EQ(lines.count("memcached is in trouble"), 2u) << lines.text;
  EXPECT_EQ(lines.count("memcached is back"), 1u) << lines.text;
  EXPECT_GT(lines.text.find("memcached is back"), lines.text.rfind("memcached is in trouble"));
  // Of trouble that nobody was told of nobody is told the end.
  frozen = true;
  pass(seconds(1));
  frozen = false;
  pass(seconds(3));
  EXPECT_EQ(lines.count("memcached is in trouble"), 2u) << lines.text;
  EXPECT_EQ(lines.count("memcached is back"), 1u) << lines.text;
  EXPECT_TRUE(a->usable() && second->usable());
}

// The catalog of the other is to be asked again before anything that the definition has changed is kept or found.
TEST_F(RemoteTest, WhatOneDefinesTheOtherHearsOfWithItsNextQuestion) {
  warm();
  std::vector<std::string> heard;
  theirs.redefined = [&heard](std::string_view database) { heard.emplace_back(database); };
  ours.redefined = [](std::string_view) { ADD_FAILURE() << "it has defined it itself"; };
  EXPECT_TRUE(find(*b, fill()));
  int called = 0;
  mark(*b, 8, called).end(/*known=*/true);
  EXPECT_EQ(called, 1);
  EXPECT_TRUE(heard.empty()) << "a write alone defines nothing";
  {
    bool waits = false;
    Remote::Mark defines = a->mark(
        "d", {.scope = {.database = true}, .defines = true}, [] {}, waits);
    EXPECT_TRUE(waits);
    turn();
    defines.sent();
    EXPECT_FALSE(find(*b, fill()));
    EXPECT_TRUE(heard.empty()) << "it is not over yet";
    defines.end(/*known=*/true);
    turn();
  }
  EXPECT_FALSE(find(*b, fill()));
  EXPECT_EQ(heard, std::vector<std::string>{"d"});
  find(*b, fill());
  EXPECT_EQ(heard.size(), 1u) << "once";
  EXPECT_TRUE(keep(*b, fill()));
  EXPECT_TRUE(find(*a, fill()));
}

// A writer asks nothing but its mark: the answer to that says it, ahead of what it then sends.
TEST_F(RemoteTest, AWriterHearsOfDefinitionsBeforeItSends) {
  warm();
  int called = 0;
  mark(*b, 7, called).end(/*known=*/true);
  bool waits = false;
  std::vector<std::string> heard;
  theirs.redefined = [&heard](std::string_view database) { heard.emplace_back(database); };
  a->mark(
       "d", {.scope = {.tables = {7}}, .defines = true}, [] {}, waits)
      .end(/*known=*/true);
  turn();
  std::size_t heard_when_told = 0;
  Remote::Mark writes = b->mark(
      "d", {.scope = {.tables = {8}}}, [&] { heard_when_told = heard.size(); }, waits);
  ASSERT_TRUE(waits);
  turn();
  EXPECT_EQ(heard_when_told, 1u);
}

// What the first one says comes late: between, the second one has said the same.
TEST_F(RemoteTest, OfTwoWhoDefineAtOnceEachHearsOfTheOther) {
  warm();
  std::size_t heard_by_us = 0, heard_by_them = 0;
  ours.redefined = [&](std::string_view) { ++heard_by_us; };
  theirs.redefined = [&](std::string_view) { ++heard_by_them; };
  bool waits = false;
  Remote::Mark first = a->mark(
      "d", {.scope = {.database = true}, .defines = true}, [] {}, waits);
  Remote::Mark second = b->mark(
      "d", {.scope = {.database = true}, .defines = true}, [] {}, waits);
  turn();
  peers[0]->mute = true;
  first.end(/*known=*/true);
  turn();
  second.end(/*known=*/true);
  turn();
  EXPECT_EQ(heard_by_us + heard_by_them, 0u);
  peers[0]->mute = false;
  turn();
  EXPECT_EQ(heard_by_us, 1u);
  find(*b, fill());
  EXPECT_EQ(heard_by_them, 1u);
  find(*a, fill());
  EXPECT_EQ(heard_by_us, 1u);
  warm();
}

// What became of it is not known: it may be there.
TEST_F(RemoteTest, ADefinitionWhoseOutcomeIsLostCountsAsMade) {
  warm();
  std::vector<std::string> heard;
  theirs.redefined = [&heard](std::string_view database) { heard.emplace_back(database); };
  {
    bool waits = false;
    Remote::Mark lost = a->mark(
        "d", {.scope = {.tables = {8}}, .defines = true}, [] {}, waits);
    turn();
    lost.sent();
  }
  turn();
  EXPECT_TRUE(find(*b, fill())) << "another table";
  EXPECT_EQ(heard, std::vector<std::string>{"d"});
}

// … and when the server may have been done at last, for what the process has asked meanwhile.
TEST_F(RemoteTest, WhoHasLostADefinitionAsksAgainWhenItCanBeThere) {
  for (const bool everything : {false, true}) {
    warm();
    std::vector<std::string> heard;
    {
      bool waits = false;
      Remote::Mark lost = a->mark(
          "d", {.scope = {.database = !everything, .everything = everything}, .defines = true}, [] {}, waits);
      turn();
      lost.sent();
    }
    pass(seconds(1));
    ours.redefined = [&heard](std::string_view database) { heard.emplace_back(database); };
    clock.time += Remote::kDoubtEnds;
    pass(seconds(1));
    EXPECT_EQ(heard, std::vector<std::string>{everything ? "" : "d"});
    ours.redefined = nullptr;
    pass(Remote::kNewCounterWaits);
  }
}

// Of a part of a unit that has its mark already.
TEST_F(RemoteTest, AWriterHearsOfDefinitionsBeforeItSendsMore) {
  warm();
  int called = 0;
  Remote::Mark writes = mark(*b, 8, called);
  bool waits = false;
  std::size_t heard = 0, heard_when_told = 0;
  theirs.redefined = [&heard](std::string_view) { ++heard; };
  a->mark(
       "d", {.scope = {.tables = {7}}, .defines = true}, [] {}, waits)
      .end(/*known=*/true);
  turn();
  ASSERT_TRUE(b->hear("d", [&] { heard_when_told = heard; }));
  turn();
  EXPECT_EQ(heard_when_told, 1u);
}

// An entry that was made before does not show what a write has changed by a trigger that it did not know of.
TEST_F(RemoteTest, AWriteThatADefinitionOvertakesEndsTheDatabase) {
  warm();
  warm(8);
  int called = 0;
  Remote::Mark writes = mark(*a, 8, called);
  mark(*a, 9, called).end(/*known=*/true);
  EXPECT_TRUE(find(*b, fill())) << "nobody has defined anything";
  bool waits = false;
  b->mark(
       "d", {.scope = {.tables = {9}}, .defines = true}, [] {}, waits)
      .end(/*known=*/true);
  turn();
  EXPECT_TRUE(find(*b, fill()));
  writes.end(/*known=*/true);
  turn();
  EXPECT_FALSE(find(*b, fill()));
}

// What is believed to change nothing is asked for all the same: is that still so?
TEST_F(RemoteTest, AMarkOfNothingHearsOfDefinitions) {
  warm();
  std::size_t heard = 0, heard_when_told = 0;
  ours.redefined = [&](std::string_view) { ++heard; };
  bool waits = false;
  b->mark(
       "d", {.scope = {.database = true}, .defines = true}, [] {}, waits)
      .end(/*known=*/true);
  turn();
  warm();
  heard = 0;
  b->mark(
       "d", {.scope = {.database = true}, .defines = true}, [] {}, waits)
      .end(/*known=*/true);
  turn();
  Remote::Mark nothing = a->mark(
      "d", {}, [&] { heard_when_told = heard; }, waits);
  ASSERT_TRUE(waits);
  turn();
  EXPECT_EQ(heard_when_told, 1u);
  warm();
  nothing.end(/*known=*/true);
  turn();
  EXPECT_TRUE(find(*b, fill()));
}

TEST_F(RemoteTest, WhatIsDefinedForAllDatabasesIsHeardOfInEach) {
  warm();
  std::vector<std::string> heard;
  theirs.redefined = [&heard](std::string_view database) { heard.emplace_back(database); };
  Fill other = fill();
  other.database = "other";
  find(*a, other);
  find(*a, other);
  ours.redefined = [](std::string_view) { ADD_FAILURE() << "it has defined it itself"; };
  bool waits = false;
  Remote::Mark defines = a->mark(
      "other", {.scope = {.everything = true}, .defines = true}, [] {}, waits);
  turn();
  find(*b, fill());
  const std::size_t begun = heard.size();
  find(*b, fill());
  EXPECT_EQ(heard.size(), begun);
  defines.end(/*known=*/true);
  turn();
  int called = 0;
  mark(*b, 8, called);
  EXPECT_GT(heard.size(), begun);
  EXPECT_EQ(heard.back(), "");
}

// The counter of everything was not there when the definer began, and was made by who looked meanwhile.
TEST_F(RemoteTest, WhatIsDefinedForAllIsHeardOfThoughItsCounterIsYounger) {
  warm();
  const std::string all = all_counter();
  memcached.values.erase(all);
  bool waits = false;
  Remote::Mark defines = a->mark(
      "d", {.scope = {.everything = true}, .defines = true}, [] {}, waits);
  turn();
  find(*b, fill());
  find(*b, fill());
  EXPECT_TRUE(memcached.values.contains(all));
  std::size_t heard = 0;
  theirs.redefined = [&heard](std::string_view) { ++heard; };
  find(*b, fill());
  EXPECT_EQ(heard, 0u);
  defines.end(/*known=*/true);
  turn();
  find(*b, fill());
  EXPECT_GT(heard, 0u);
}

// What one worker has told the process the others need not tell again.
TEST_F(RemoteTest, AProcessIsToldOnceOfADefinition) {
  const std::unique_ptr<Remote> second = proxy(ours);
  pass(Remote::kTick);
  warm();
  find(*second, fill());
  std::vector<std::string> heard;
  ours.redefined = [&heard](std::string_view database) { heard.emplace_back(database); };
  bool waits = false;
  for (const bool everything : {false, true}) {
    heard.clear();
    b->mark(
         "d", {.scope = {.database = !everything, .everything = everything}, .defines = true}, [] {}, waits)
        .end(/*known=*/true);
    turn();
    find(*a, fill());
    find(*second, fill());
    find(*a, fill());
    EXPECT_EQ(heard, std::vector<std::string>{everything ? "" : "d"});
  }
}

// Nobody will ever say what it has defined.
TEST_F(RemoteTest, AfterADefinerThatDiedTheCacheIsEmptied) {
  warm();
  for (auto& [name, value] : memcached.values) {
    if (name.starts_with("hgw")) value = std::to_string(std::stoull(value) + 0x10001);
  }
  const Bytes epoch = memcached.values.at("herdgate-epoch-1");
  for (int look = 0; look < Remote::kDoubtfulLooks; ++look) {
    find(*b, fill());
    pass(Remote::kDoubtEnds / Remote::kDoubtfulLooks);
    EXPECT_EQ(memcached.values.at("herdgate-epoch-1"), epoch);
  }
  std::size_t heard = 0;
  theirs.redefined = [&heard](std::string_view) { ++heard; };
  find(*b, fill());
  pass(2 * Remote::kTick);
  EXPECT_NE(memcached.values.at("herdgate-epoch-1"), epoch);
  EXPECT_GT(heard, 0u);
}

// Meanwhile the others may have taken its mark for lost, and kept what is old now.
TEST_F(RemoteTest, AWriterThatWasStoppedForLongEmptiesTheCache) {
  warm();
  int called = 0;
  Remote::Mark writes = mark(*a, 8, called);
  const Bytes epoch = memcached.values.at("herdgate-epoch-1");
  clock.time += Remote::kStopped + milliseconds(1);
  loop.post([&] { writes.end(/*known=*/true); });
  turn();
  EXPECT_NE(memcached.values.at("herdgate-epoch-1"), epoch);
}

// memcached has lost the number, and with it perhaps that it changed.
TEST_F(RemoteTest, ANumberOfDefinitionsThatIsLostCountsAsANewOne) {
  warm();
  std::vector<std::string> heard;
  theirs.redefined = [&heard](std::string_view database) { heard.emplace_back(database); };
  EXPECT_EQ(std::erase_if(memcached.values, [](const auto& kept) { return kept.first.starts_with("hgn"); }), 1u);
  find(*b, fill());
  EXPECT_FALSE(heard.empty());
  find(*b, fill());  // the one that is there now
  const std::size_t so_far = heard.size();
  find(*b, fill());
  EXPECT_EQ(heard.size(), so_far);
}

TEST_F(RemoteTest, RemovesAllVariantsOfAText) {
  warm();
  std::optional<bool> was_there;
  ASSERT_TRUE(b->remove(fill().text, [&](bool there) { was_there = there; }));
  turn();
  EXPECT_EQ(was_there, true);
  EXPECT_FALSE(find(*a, fill()));
  ASSERT_TRUE(b->remove(fill().text, [&](bool there) { was_there = there; }));
  turn();
  EXPECT_EQ(was_there, false);
  EXPECT_TRUE(keep(*a, fill()));
  EXPECT_TRUE(find(*b, fill()));
}

TEST_F(RemoteTest, NamespacesHaveNothingInCommon) {
  Sharing other;
  other.space = "another herd, of whatever name\r\n";
  const std::unique_ptr<Remote> c = proxy(other);
  pass(Remote::kTick);
  ASSERT_TRUE(c->usable());
  warm();
  EXPECT_FALSE(find(*c, fill()));
  for (int times = 0; times < 2; ++times) keep(*c, fill());
  pass(Remote::kNewCounterWaits);
  ASSERT_TRUE(keep(*c, fill()));
  int called = 0;
  mark(*a, 7, called).end(/*known=*/true);
  turn();
  EXPECT_FALSE(find(*b, fill()));
  EXPECT_TRUE(find(*c, fill()));
  ++ours.owed;
  a->pay();
  turn();
  EXPECT_TRUE(find(*c, fill())) << "nor are they emptied together";
}

TEST_F(RemoteTest, EverythingGoesWithTheEpoch) {
  warm();
  ++ours.owed;
  EXPECT_FALSE(a->usable());
  a->pay();
  turn();
  EXPECT_TRUE(a->usable());
  EXPECT_FALSE(find(*a, fill()));
  EXPECT_FALSE(find(*b, fill()));
  warm();
  memcached.values.clear();
  EXPECT_FALSE(find(*b, fill()));
  pass(seconds(1));
  warm();
}

}  // namespace
}  // namespace herdgate::cache
