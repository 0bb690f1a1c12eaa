// The pools of two workers, where the server has room.
#include "pool/test_pool.h"

namespace herdgate::pool {
namespace {

using std::chrono::seconds;

TEST_F(PoolTest, WhoWaitsIsServedInOrder) {
  ServerLink* link = get(ann);
  const auto second = ask(ann), third = ask(ann, 1), fourth = ask(ann);
  settle();
  EXPECT_EQ(accounts.waiting(), 3u);
  pool().give_back(*link, {});
  until([&] { return second->result.has_value(); });
  EXPECT_EQ(second->link(), link);
  EXPECT_FALSE(third->result || fourth->result);
  pool().give_back(*link, {});
  until([&] { return third->result.has_value(); });
  EXPECT_FALSE(fourth->result);
  pool(1).give_back(*third->link(), {});
  until([&] { return fourth->result.has_value(); });
  EXPECT_EQ(server.logins, 1) << "one link went round";
}

// issue: while sessions queued for the links that there were, no login got one.
TEST_F(PoolTest, ALoginHasALinkClosedForItInItsTurn) {
  for (const int worker : {0, 1}) {
    server.logins = 0;
    ServerLink* link = get(ann);
    const int before = server.logins;
    const auto login = ask(ann, worker, Deadline::never(), false, true), younger = ask(ann);
    settle();
    pool().give_back(*link, {});
    until([&] { return login->result.has_value(); });
    ASSERT_NE(login->link(), nullptr) << login->error();
    EXPECT_FALSE(younger->result);
    EXPECT_EQ(server.logins, before + 1);
    pool(worker).give_back(*login->link(), {});
    until([&] { return younger->result.has_value(); });
    EXPECT_EQ(server.logins, before + 1) << "that one went on";
    pool().give_back(*younger->link(), {});
  }
}

TEST_F(PoolTest, AnIdleLinkMovesToTheWorkerWhereSomebodyWaits) {
  pool().give_back(*get(ann), {});
  const auto there = ask(ann, 1);
  until([&] { return there->result.has_value(); });
  ASSERT_NE(there->link(), nullptr);
  EXPECT_EQ(server.logins, 1);
  EXPECT_EQ(pool().links(), 0u);
  EXPECT_EQ(pool(1).links(), 1u);
}

// issue: the waiter for whom the link was meant was forgotten.
TEST_F(PoolTest, ALinkThatBreaksOnItsWayToAWaiterIsReplaced) {
  ServerLink* link = get(ann);
  const auto waiting = ask(ann);
  settle();
  pool().give_back(*link, {});
  link->link->close(Error{backend::Errc::closed_by_us, "by the test"});
  until([&] { return waiting->result.has_value(); });
  ASSERT_NE(waiting->link(), nullptr) << waiting->error();
  EXPECT_TRUE(waiting->link()->link->clean());
  EXPECT_EQ(server.logins, 2);
  EXPECT_EQ(accounts.links(), 1u);
}

TEST_F(PoolTest, ALinkThatBreaksOnItsWayToAnotherWorkerIsReplaced) {
  ServerLink* link = get(ann);
  const auto waiting = ask(ann, 1);
  settle();
  pool().give_back(*link, {});
  link->link->close(Error{backend::Errc::closed_by_us, "by the test"});
  until([&] { return waiting->result.has_value(); });
  ASSERT_NE(waiting->link(), nullptr) << waiting->error();
  EXPECT_EQ(server.logins, 2);
  EXPECT_EQ(accounts.links(), 1u);
}

// issue: both counted on the link that was being cleaned; who came second waited until the first had left.
TEST_F(PoolTest, WhoCountedOnALinkThatWentElsewhereGetsAnother) {
  accounts.set_limits({.per_node = 5, .per_key = 0});
  settings.reset_query_list = {"DISCARD ALL"};
  configure();
  ServerLink* link = get(ann);
  pool().give_back(*link, {.session_ends = true, .dirty = true});
  const auto there = ask(ann, 1), here = ask(ann, 0);
  EXPECT_EQ(accounts.waiting(), 2u) << "both wait for it";
  until([&] { return there->result && here->result; });
  EXPECT_NE(here->link(), nullptr);
  EXPECT_NE(there->link(), nullptr);
  EXPECT_EQ(server.logins, 2);
  EXPECT_EQ(accounts.waiting(), 0u);
}

// issue: nobody closed the idle link of another kind on his own worker, since he counted on one that somebody there
// took.
TEST_F(PoolTest, WhoCountedOnALinkThatWasTakenElsewhereHasOneOfHisOwnWorkerClosed) {
  accounts.set_limits({.per_node = 2, .per_key = 0});
  pool(1).give_back(*get(ann, 1), {});
  pool(0).give_back(*get(bob, 0), {});
  const auto here = ask(ann, 0);
  EXPECT_EQ(accounts.waiting(), 1u) << "it counts on the other worker's";
  ServerLink* taken = pool(1).try_take(*pool(1).key_pool(ann));
  ASSERT_NE(taken, nullptr);
  until([&] { return here->result.has_value(); });
  EXPECT_NE(here->link(), nullptr) << here->error();
  EXPECT_EQ(accounts.links(), 2u);
  pool(1).give_back(*taken, {});
  EXPECT_EQ(get(ann, 1), taken) << "and it recovers";
}

TEST_F(PoolTest, OfTwoWhoCountOnOneLinkBothAreServed) {
  accounts.set_limits({.per_node = 2, .per_key = 0});
  add_worker();
  pool(1).give_back(*get(ann, 1), {});
  pool(2).give_back(*get(bob, 2), {});
  const auto first = ask(ann, 0), second = ask(ann, 2);
  EXPECT_EQ(accounts.waiting(), 2u);
  until([&] { return first->result && second->result; });
  EXPECT_NE(first->link(), nullptr) << first->error();
  EXPECT_NE(second->link(), nullptr) << second->error();
}

// issue: what is said of all links was not heard by one that was between two workers, or on its way to who waited.
TEST_F(PoolTest, ALinkOnItsWayIsRenewedLikeTheOthers) {
  for (const int worker : {0, 1}) {
    ServerLink* link = get(ann);
    const int before = server.logins;
    const auto waiting = ask(ann, worker);
    settle();
    pool().give_back(*link, {});
    loop.defer([this] {
      for (auto& each : workers.pools) each->renew();
    });
    until([&] { return waiting->result.has_value(); });
    ASSERT_NE(waiting->link(), nullptr) << waiting->error();
    EXPECT_EQ(server.logins, before + 1);
    pool(worker).discard(*waiting->link(), Error{backend::Errc::closed_by_us, "by the test"});
  }
}

TEST_F(PoolTest, ALinkOnItsWayToADeadNodeIsNotLent) {
  ServerLink* link = get(ann);
  const auto waiting = ask(ann, 1);
  settle();
  pool().give_back(*link, {});
  loop.defer([this] { configure(cluster::NodeStatus::down); });
  until([&] { return waiting->result.has_value(); });
  EXPECT_NE(waiting->error().find("taken down"), std::string::npos) << waiting->error();
  EXPECT_EQ(accounts.links(), 0u);
}

TEST_F(PoolTest, WhoGivesUpLeavesHisLinkToTheNext) {
  ServerLink* link = get(ann);
  auto gives_up = ask(ann);
  const auto next = ask(ann);
  settle();
  pool().give_back(*link, {});
  gives_up->pending.reset();  // the link is on its way to him
  until([&] { return next->result.has_value(); });
  EXPECT_EQ(next->link(), link);
}

TEST_F(PoolTest, AnIdleLinkOfAnotherKindMakesRoom) {
  pool().give_back(*get(ann), {});
  EXPECT_NE(get(bob), nullptr);
  EXPECT_EQ(server.logins, 2);
  EXPECT_EQ(accounts.links(), 1u);
}

TEST_F(PoolTest, AnIdleLinkOfAnotherWorkerMakesRoomToo) {
  pool().give_back(*get(ann), {});
  EXPECT_NE(get(bob, 1), nullptr);
  EXPECT_EQ(accounts.links(), 1u);
}

TEST_F(PoolTest, WhoAsksForOneAtOnceNeverQueues) {
  get(ann);
  EXPECT_EQ(ask(ann, 0, Deadline::never(), true)->pending, nullptr);
  EXPECT_EQ(ask(bob, 1, Deadline::never(), true)->pending, nullptr);
  EXPECT_EQ(accounts.waiting(), 0u);
  accounts.set_limits({.per_node = 2, .per_key = 0});
  const auto opened = ask(bob, 1, Deadline::never(), true);
  until([&] { return opened->result.has_value(); });
  EXPECT_NE(opened->link(), nullptr);
}

TEST_F(PoolTest, RaisedLimitsWakeWhoWaits) {
  get(ann);
  const auto waiting = ask(ann);
  settle();
  EXPECT_FALSE(waiting->result);
  accounts.set_limits({.per_node = 2, .per_key = 0});
  configure();
  until([&] { return waiting->result.has_value(); });
  EXPECT_NE(waiting->link(), nullptr);
}

TEST_F(PoolTest, AWaitEndsAtItsDeadline) {
  get(ann);
  const auto waiting = ask(ann, 0, Deadline::after(loop.now(), seconds(5)));
  settle();
  later(seconds(6));
  until([&] { return waiting->result.has_value(); });
  EXPECT_NE(waiting->error().find("waited"), std::string::npos) << waiting->error();
  EXPECT_EQ(accounts.waiting(), 0u);
}

// issue: connect_timeout = 0 left an open without a deadline.
TEST_F(PoolTest, AnOpenEndsEvenWithoutAConnectTimeout) {
  server.silent = true;
  settings.connect_timeout = {};
  configure();
  const auto waiting = ask(ann);
  settle();
  later(Pool::kOpenTimeout + seconds(1));
  until([&] { return waiting->result.has_value(); });
  EXPECT_EQ(waiting->link(), nullptr);
  EXPECT_EQ(accounts.links(), 0u);
}

TEST_F(PoolTest, AnUncleanLinkIsNeverLentAgain) {
  ServerLink* link = get(ann);
  link->link->send_query("select 1", backend::Fate::swallow);
  link->link->flush();
  pool().give_back(*link, {});
  EXPECT_NE(get(ann), nullptr);
  EXPECT_EQ(server.logins, 2);
}

TEST_F(PoolTest, AHalfSentMessageMakesALinkUnclean) {
  for (const bool session_ends : {false, true}) {
    ServerLink* link = get(ann);
    link->link->send_unanswered(Bytes("d\0\0\1\0abc", 8), 249);
    link->link->flush();
    EXPECT_FALSE(link->link->clean());
    pool().give_back(*link, {.session_ends = session_ends});
    ServerLink* next = get(ann);
    EXPECT_EQ(server.logins, session_ends ? 3 : 2);
    pool().give_back(*next, {});
  }
}

// issue: in transaction mode an empty list, or one that leaves half of it, gave it to the next session as it was.
TEST_F(PoolTest, WhatHungOnALinkInTransactionModeIsResetWhateverTheListSays) {
  settings.reset_query_list = {"RESET ALL"};
  settings.skip_clean_reset = true;
  configure();
  ServerLink* link = get(ann);
  pool().give_back(*link, {.session_ends = true, .pinned = true});
  EXPECT_EQ(get(ann), link);
  for (const char* query : {"UNLISTEN *", "DISCARD TEMP", "SELECT pg_catalog.pg_advisory_unlock_all()", "RESET ALL"})
    EXPECT_EQ(std::count(server.queries.begin(), server.queries.end(), query), 1) << query;
}

TEST_F(PoolTest, TheEndOfASessionRunsTheResetList) {
  settings.reset_query_list = {"ABORT", "DISCARD ALL"};
  configure();
  ServerLink* link = get(ann);
  link->memory.wrote = true;
  pool().give_back(*link, {.session_ends = true});
  EXPECT_EQ(get(ann), link);
  EXPECT_FALSE(link->memory.wrote);
  EXPECT_EQ(server.queries, std::vector<std::string>{"DISCARD ALL"}) << "nothing to abort";
  EXPECT_EQ(server.logins, 1);
}

TEST_F(PoolTest, TheEndOfASessionThatLeftNothingSkipsTheResetList) {
  settings.reset_query_list = {"ABORT", "DISCARD ALL"};
  settings.skip_clean_reset = true;
  configure();
  ServerLink* link = get(ann);
  pool().give_back(*link, {.session_ends = true, .dirty = false});
  EXPECT_EQ(get(ann), link);
  EXPECT_EQ(server.queries, std::vector<std::string>{});
  pool().give_back(*link, {.session_ends = true, .dirty = true});
  EXPECT_EQ(get(ann), link);
  EXPECT_EQ(server.queries, std::vector<std::string>{"DISCARD ALL"});
  EXPECT_EQ(server.logins, 1);
}

TEST_F(PoolTest, ALinkThatGrewOldIsNotKept) {
  settings.connection_life_time = seconds(60);
  configure();
  pool().give_back(*get(ann), {});
  EXPECT_EQ(pool().links(), 1u);
  later(seconds(61));
  until([&] { return server.open_lines() == 0; });
  EXPECT_EQ(accounts.links(), 0u);
}

TEST_F(PoolTest, ALinkIsNotUsedBeyondItsAge) {
  settings.connection_max_age = seconds(60);
  configure();
  ServerLink* link = get(ann);
  pool().give_back(*link, {});
  later(seconds(53));  // a tenth of its age is left to chance
  settle();
  EXPECT_EQ(get(ann), link);
  EXPECT_EQ(server.logins, 1);
  pool().give_back(*link, {});
  later(seconds(8));
  until([&] { return server.open_lines() == 0; });
  link = get(ann);
  EXPECT_EQ(server.logins, 2);
  later(seconds(61));
  settle();
  pool().give_back(*link, {});
  EXPECT_EQ(pool().links(), 0u) << "it was at work when it grew too old";
}

// They would be in the way of who copies, drops or replaces these databases.
TEST_F(PoolTest, LinksToSomeDatabasesEndWithTheirSession) {
  for (const char* database : {"template0", "template1", "postgres", "regression"}) {
    const backend::LinkKey key{NodeId(0), database, "ann"};
    pool().give_back(*get(key), {});
    EXPECT_EQ(pool().links(), 1u) << database << ": the session goes on";
    pool().give_back(*get(key), {.session_ends = true});
    EXPECT_EQ(pool().links(), 0u) << database;
  }
  pool().give_back(*get(ann), {.session_ends = true});
  EXPECT_EQ(pool().links(), 1u);
}

TEST_F(PoolTest, ALinkTheServerClosedIsNotLent) {
  pool().give_back(*get(ann), {});
  server.drop_all();
  settle();
  EXPECT_NE(get(ann), nullptr);
  EXPECT_EQ(server.logins, 2);
}

// A cancel that comes late must not hit the next session.
TEST_F(PoolTest, ALinkIsNotLentWhileACancelIsOnItsWay) {
  ServerLink* link = get(ann);
  pool().cancel(*link);
  pool().give_back(*link, {});
  const auto next = ask(ann);
  until([&] { return server.cancels == 1; });
  settle();
  EXPECT_FALSE(next->result);
  server.end_cancels();
  until([&] { return next->result.has_value(); });
  EXPECT_EQ(next->link(), link);
  EXPECT_EQ(server.syncs, 1) << "a round trip proves that nothing is left to be hit";
}

struct RingPoolTest : PoolTest {
  RingPoolTest() : PoolTest(net::Loop::Kernel::io_uring) {}
};

// By io_uring what a turn sends goes at its end; a connection for the cancel may be made before.
TEST_F(RingPoolTest, ACancelComesBehindTheQueryItIsMeantFor) {
  ServerLink* link = get(ann);
  link->link->send_query("select 0", backend::Fate::swallow);
  link->link->flush();
  until([&] { return server.queries.size() == 1; });
  Bytes heard;
  loop.post([&] {
    link->link->send_query("select 1", backend::Fate::forward);
    link->link->flush();
    pool().cancel(*link);
    heard = server.unread();
    loop.stop();
  });
  loop.run();
  EXPECT_EQ(heard, Bytes("Q\0\0\0\x0dselect 1\0", 14));
  until([&] { return server.cancels == 1; });
}

// issue: the end of a cancel request was told to whatever link lay at the address of the one it was for. An idle link
// was cleaned then, and lent while its cleaner was still at work.
TEST_F(PoolTest, TheEndOfACancelConcernsNoLinkButItsOwn) {
  ServerLink* link = get(ann);
  pool().cancel(*link);
  until([&] { return server.cancels == 1; });
  pool().discard(*link, Error{backend::Errc::closed_by_us, "by the test"});
  settle();
  // Links come and go until one lies where the old one was; the allocator gives it out soon, or never.
  accounts.set_limits({.per_node = 64, .per_key = 0});
  std::vector<ServerLink*> taken;
  while (taken.size() < 64 && (taken.empty() || taken.back() != link)) taken.push_back(get(ann));
  for (ServerLink* other : taken) pool().give_back(*other, {});
  server.end_cancels();
  settle();
  for (ServerLink* other : taken) EXPECT_EQ(other->cancels_in_flight, 0);
  EXPECT_EQ(server.syncs, 0) << "nobody had to be cleaned";
  for (std::size_t i = 0; i < taken.size(); ++i) EXPECT_NE(get(ann), nullptr);
  EXPECT_EQ(pool().links(), taken.size());
}

// issue: a slot that came free was used to open a link to a node that had been taken down meanwhile.
TEST_F(PoolTest, ASlotIsNotUsedForANodeThatIsTakenDown) {
  ServerLink* link = get(ann);
  const auto waiting = ask(ann);
  settle();
  EXPECT_EQ(accounts.waiting(), 1u);
  pool().discard(*link, Error{backend::Errc::closed_by_us, "by the test"});  // the slot is on its way to him
  configure(cluster::NodeStatus::down);
  until([&] { return waiting->result.has_value(); });
  EXPECT_NE(waiting->error().find("taken down"), std::string::npos) << waiting->error();
  settle();
  EXPECT_EQ(server.logins, 1);
  EXPECT_EQ(accounts.links(), 0u);
  configure(cluster::NodeStatus::up);
  EXPECT_NE(get(ann), nullptr);
}

// issue: without authentication_timeout nothing ended the wait for a server that has got the password.
TEST_F(PoolTest, AServerThatSaysNothingToAPasswordIsGivenUp) {
  server.asks = true;
  Asker asker;
  bool asked = false;
  Pool::Ask what;
  what.pool = pool().key_pool(ann);
  what.on_method = [&](auth::ServerMethod, backend::Opener& opener) {
    asked = true;
    auth::Credentials credentials;
    credentials.user = ann.user;
    credentials.kind = auth::Credentials::Kind::plain;
    credentials.secret = auth::Secret("secret");
    opener.provide(credentials);
  };
  asker.pending = pool().request(std::move(what), [&](Pool::Result result) {
    asker.result = std::move(result);
    loop.defer([this] { changed(); });
  });
  until([&] { return asked; });
  settle();
  EXPECT_FALSE(asker.result);
  later(Pool::kOpenTimeout + seconds(1));
  until([&] { return asker.result.has_value(); });
  EXPECT_EQ(asker.link(), nullptr);
  EXPECT_EQ(accounts.links(), 0u);
  server.asks = false;
  EXPECT_NE(get(ann), nullptr);
}

// issue: DO could drop the interned statements, or leave others under the names of the next session's.
TEST_F(PoolTest, ALinkWithUnseenStateLosesItsStatements) {
  ServerLink* link = get(ann);
  link->memory.interned.add("hg_1", 10, 0);
  link->memory.named["x"] = {};
  link->memory.opaque = true;
  pool().give_back(*link, {});
  EXPECT_EQ(get(ann), link);
  EXPECT_EQ(server.queries.back(), "DEALLOCATE ALL");
  EXPECT_EQ(link->memory.interned.size(), 0u);
  EXPECT_TRUE(link->memory.named.empty());
}

TEST_F(PoolTest, TheHolderHearsWhenACancelIsOver) {
  ServerLink* link = get(ann);
  link->holder = 1;
  bool told = false;
  link->on_cancels_over = [&] {
    told = true;
    loop.defer([this] { changed(); });
  };
  pool().cancel(*link);
  until([&] { return server.cancels == 1; });
  EXPECT_FALSE(told);
  server.end_cancels();
  until([&] { return told; });
  EXPECT_EQ(link->cancels_in_flight, 0);
}

}  // namespace
}  // namespace herdgate::pool
