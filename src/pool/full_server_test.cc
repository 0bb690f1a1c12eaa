// A server without room for another connection: who is refused, who waits, and what is closed for him.
#include "pool/test_pool.h"

namespace herdgate::pool {
namespace {

using std::chrono::seconds;

// issue: idle links of other users were held while a server said to everybody else that it had no room.
struct FullServer : PoolTest {
  void SetUp() override {
    PoolTest::SetUp();
    accounts.set_limits({.per_node = 100, .per_key = 0});
    server.room = 8;
  }
  // As many as the server has room for.
  std::vector<ServerLink*> fill(const backend::LinkKey& key) {
    std::vector<ServerLink*> links;
    for (std::size_t i = 0; i < server.room; ++i) links.push_back(get(key, static_cast<int>(i % 2)));
    return links;
  }
  void give_all_back(const std::vector<ServerLink*>& links) {
    for (std::size_t i = 0; i < links.size(); ++i) pool(static_cast<int>(i % 2)).give_back(*links[i], {});
  }
};

TEST_F(FullServer, IdleLinksMakeRoomAndSomeIsLeft) {
  give_all_back(fill(bob));
  std::vector<std::unique_ptr<Asker>> askers;
  for (int i = 0; i < 6; ++i) askers.push_back(ask(ann, i % 2));
  until([&] { return std::all_of(askers.begin(), askers.end(), [](const auto& a) { return a->result.has_value(); }); });
  for (int i = 0; i < 6; ++i) {
    const auto& asker = askers[static_cast<std::size_t>(i)];
    ASSERT_NE(asker->link(), nullptr) << asker->error();
    pool(i % 2).give_back(*asker->link(), {});
  }
  EXPECT_GT(server.refused, 0);
  EXPECT_EQ(accounts.waiting(), 0u);
  later(seconds(1));
  until([&] { return server.open_lines() < server.room; });
  EXPECT_GE(accounts.links(), server.room / 2) << "no more than needed is closed";
  const int before = server.refused;
  EXPECT_NE(get({NodeId(0), "shop", "eve"}), nullptr);
  EXPECT_EQ(server.refused, before) << "there was room";
}

TEST_F(FullServer, WhoIsRefusedWaitsForWhatOthersUse) {
  server.room = 2;
  const auto links = fill(bob);
  const auto asker = ask(ann);
  until([&] { return accounts.waiting() == 1; });
  EXPECT_EQ(accounts.ceiling(NodeId(0)), 2u);
  const auto second = ask(ann, 1);
  settle();
  EXPECT_EQ(server.refused, 1) << "the next one is not even tried";
  pool(1).give_back(*links[1], {});
  until([&] { return asker->result.has_value(); });
  ASSERT_NE(asker->link(), nullptr) << asker->error();
  pool().give_back(*asker->link(), {});
  until([&] { return second->result.has_value(); });
  EXPECT_NE(second->link(), nullptr) << second->error();
}

TEST_F(FullServer, WhoWaitsTriesAgainEachSecondAndNoLongerThanItsDeadline) {
  server.room = 1;
  fill(bob);
  const auto asker = ask(ann, 1), late = ask(ann, 0, Deadline::after(loop.now(), seconds(4)));
  until([&] { return accounts.waiting() == 2; });
  const int before = server.refused;
  later(seconds(2));
  until([&] { return server.refused > before && accounts.waiting() == 2; });
  later(seconds(3));
  until([&] { return late->result.has_value(); });
  EXPECT_NE(late->error().find("the server of node 0 has no room for more"), std::string::npos) << late->error();
  EXPECT_TRUE(!*late->result && late->result->error().no_slot);
  EXPECT_FALSE(asker->result);
  server.room = 3;
  later(seconds(1));
  until([&] { return asker->result.has_value(); });
  EXPECT_NE(asker->link(), nullptr) << asker->error();
  later(Accounts::kCeilingLife + seconds(1));
  settle();
  EXPECT_FALSE(accounts.ceiling(NodeId(0))) << "and it recovers";
}

// issue: for five minutes after a refusal the server was blamed for what pool_size did.
TEST_F(FullServer, WhoWaitsAtALimitOfOursDoesNotBlameTheServer) {
  server.room = 2;
  const auto links = fill(bob);
  auto refused = ask(ann);
  until([&] { return accounts.waiting() == 1; });
  refused.reset();
  pool(1).discard(*links[1], Error{backend::Errc::closed_by_us, "by the test"});
  accounts.set_limits({.per_node = 100, .per_key = 1});
  const auto late = ask(bob, 1, Deadline::after(loop.now(), seconds(4)));
  settle();
  later(seconds(5));
  until([&] { return late->result.has_value(); });
  EXPECT_NE(late->error().find("waited"), std::string::npos) << late->error();
  EXPECT_EQ(late->error().find("the server"), std::string::npos) << late->error();
  EXPECT_TRUE(accounts.ceiling(NodeId(0)));
}

// A server's process outlives our end of its connection.
TEST_F(FullServer, OneWhoIsRefusedRightBehindACloseIsTriedAgain) {
  pool().give_back(*get(bob), {});
  server.refuses = "53300";
  server.logins = 0;
  const auto asker = ask(ann);
  until([&] { return server.logins == 2; });
  settle();
  EXPECT_FALSE(asker->result);
  EXPECT_EQ(accounts.links(), 0u);
  server.refuses.clear();
  later(seconds(1));
  until([&] { return asker->result.has_value(); });
  EXPECT_NE(asker->link(), nullptr) << asker->error();
}

// issue: while no login was over yet, those without a slot were told so at once.
TEST_F(FullServer, WhoIsRefusedWhileOthersAreGettingInWaitsForThem) {
  server.room = 1;
  server.holds = true;
  const auto first = ask(ann);
  until([&] { return server.logins == 1; });
  const auto second = ask(bob, 1), third = ask(ann, 1);
  until([&] { return accounts.waiting() == 2; });
  settle();
  EXPECT_FALSE(second->result || third->result);
  server.let_in();
  until([&] { return first->result && server.refused == 3 && accounts.waiting() == 2; });
  ASSERT_NE(first->link(), nullptr) << first->error();
  pool().give_back(*first->link(), {});
  until([&] { return third->result.has_value(); });
  ASSERT_NE(third->link(), nullptr) << third->error();
  pool(1).discard(*third->link(), Error{backend::Errc::closed_by_us, "by the test"});
  later(seconds(1));
  until([&] { return second->result.has_value(); });
  EXPECT_NE(second->link(), nullptr) << second->error();
  EXPECT_EQ(accounts.waiting(), 0u);
}

TEST_F(FullServer, WhereThoseWhoWereGettingInFailAllAreTold) {
  server.room = 1;
  server.holds = true;
  auto first = ask(ann);
  until([&] { return server.logins == 1; });
  std::vector<std::unique_ptr<Asker>> askers;
  for (int i = 0; i < 4; ++i) askers.push_back(ask(i % 2 == 0 ? ann : bob, i % 2));
  until([&] { return accounts.waiting() == 4; });
  server.room = 0;
  first.reset();
  until([&] { return server.refused == 5 && accounts.waiting() == 4; });
  later(seconds(1));
  until([&] { return std::all_of(askers.begin(), askers.end(), [](const auto& a) { return a->result.has_value(); }); });
  for (const auto& asker : askers) {
    ASSERT_TRUE(!*asker->result && asker->result->error().server);
    EXPECT_EQ(asker->result->error().server->sqlstate, "53300");
  }
  EXPECT_EQ(server.refused, 6) << "one of them has tried again";
  EXPECT_EQ(accounts.links() + accounts.waiting(), 0u);
  EXPECT_FALSE(accounts.ceiling(NodeId(0)));
  server.holds = false;
  server.room = 1;
  EXPECT_NE(get(ann), nullptr) << "and it recovers";
}

// issue: where the last link had been closed for him, or a moment ago, he was told that its process was still there.
TEST_F(FullServer, OneWhoIsRefusedBehindTheLastLinkIsTriedAgain) {
  accounts.set_limits({.per_node = 1, .per_key = 0});
  for (const bool idle : {true, false}) {
    ServerLink* last = get(bob);
    idle ? pool().give_back(*last, {}) : pool().discard(*last, Error{backend::Errc::closed_by_us, "by the test"});
    server.refuses = "53300";
    server.logins = 0;
    const auto asker = ask(ann);
    until([&] { return server.logins == 1; });
    settle();
    EXPECT_FALSE(asker->result);
    EXPECT_EQ(accounts.links(), 0u);
    server.refuses.clear();
    later(seconds(1));
    until([&] { return asker->result.has_value(); });
    ASSERT_NE(asker->link(), nullptr) << asker->error();
    pool().discard(*asker->link(), Error{backend::Errc::closed_by_us, "by the test"});
  }
}

// Those who are about to be refused themselves are nobody to wait for.
TEST_F(FullServer, WhereWeHoldNoLinkAllOfACrowdAreToldAtOnce) {
  server.room = 0;
  std::vector<std::unique_ptr<Asker>> askers;
  for (int i = 0; i < 6; ++i) askers.push_back(ask(ann, i % 2));
  until([&] { return std::all_of(askers.begin(), askers.end(), [](const auto& a) { return a->result.has_value(); }); });
  for (const auto& asker : askers) EXPECT_EQ(asker->link(), nullptr);
  EXPECT_EQ(server.refused, 6) << "each was tried once";
  EXPECT_EQ(accounts.links(), 0u);
  EXPECT_FALSE(accounts.ceiling(NodeId(0)));
}

TEST_F(FullServer, WhereWeHoldNoLinkTheRefusalIsToldAtOnce) {
  server.room = 0;
  for (int i = 0; i < 2; ++i) {
    const auto asker = ask(ann);
    until([&] { return asker->result.has_value(); });
    ASSERT_TRUE(!*asker->result && asker->result->error().server);
    EXPECT_EQ(asker->result->error().server->sqlstate, "53300");
  }
  server.room = 1;
  EXPECT_NE(get(ann), nullptr);
}

TEST_F(FullServer, NothingIsClosedForTheLimitOfARoleOrDatabase) {
  pool().give_back(*get(bob), {});
  for (const std::string routine : {"InitializeSessionUserId", "CheckMyDatabase"}) {
    server.refuses = std::string("53300") + '\0' + "R" + routine;
    const auto asker = ask(ann);
    until([&] { return asker->result.has_value(); });
    EXPECT_TRUE(!*asker->result && asker->result->error().server);
    EXPECT_EQ(accounts.links(), 1u) << routine;
  }
}

TEST_F(FullServer, WhoHasAnotherNodeIsToldAtOnce) {
  server.room = 1;
  fill(bob);
  other_node = true;
  for (int i = 0; i < 2; ++i) {
    const auto asker = ask(ann);
    until([&] { return asker->result.has_value(); });
    EXPECT_TRUE(!*asker->result && asker->result->error().server);
  }
  EXPECT_EQ(accounts.links(), 1u);
}

// issue: on each worker one counted on the same idle link; who did not get it waited for room at the server.
TEST_F(FullServer, WhoHasAnotherNodeIsToldAtOnceThatALinkWentElsewhere) {
  server.room = 1;
  pool().give_back(*get(ann), {});
  other_node = true;
  for (const int first : {1, 0, 1}) {
    const auto winner = ask(ann, first), loser = ask(ann, 1 - first);
    EXPECT_EQ(accounts.waiting(), 2u) << "both count on it";
    settle();
    EXPECT_EQ(accounts.waiting(), 0u) << "nobody waits for room";
    until([&] { return winner->result && loser->result; });
    ASSERT_NE(winner->link(), nullptr) << winner->error();
    EXPECT_TRUE(!*loser->result && loser->result->error().server);
    pool(first).give_back(*winner->link(), {});
  }
  EXPECT_EQ(server.logins, 4);
}

}  // namespace
}  // namespace herdgate::pool
