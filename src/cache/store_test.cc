#include "cache/store.h"

#include <gtest/gtest.h>

#include <thread>

#include "cache/database.h"

namespace herdgate::cache {
namespace {

struct ManualClock final : Clock {
  TimePoint time{std::chrono::hours(1)};
  TimePoint now() const override { return time; }
  WallTime wall() const override { return {}; }
};

Hash128 key(std::uint64_t n) { return {n * 0x9e3779b97f4a7c15ULL, n * 0xff51afd7ed558ccdULL}; }

Scope tables(std::vector<std::uint32_t> oids) { return {.tables = std::move(oids)}; }

class StoreTest : public ::testing::Test {
 protected:
  Fill fill(std::uint64_t n, std::vector<std::uint32_t> of = {1}, std::string database = "d") {
    Fill f;
    f.key = key(n);
    f.text = key(n + 1'000'000);
    f.database = std::move(database);
    f.tables = std::move(of);
    f.began = store.now();
    f.head = "T";
    f.rest = "row " + std::to_string(n);
    return f;
  }
  bool has(std::uint64_t n) { return store.find(key(n)).has_value(); }
  ManualClock clock;
  Store store{clock, {}};
};

TEST_F(StoreTest, GivesBackWhatWasPut) {
  EXPECT_FALSE(has(1));
  ASSERT_TRUE(store.put(fill(1)));
  const auto found = store.find(key(1));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->head(), "T");
  EXPECT_EQ(found->rest(), "row 1");
  EXPECT_FALSE(has(2));
  EXPECT_EQ(store.figures().hits, 1u);
  EXPECT_EQ(store.figures().entries, 1u);
}

TEST_F(StoreTest, AWriterTakesTheEntriesOfItsTablesAndOfNoOthers) {
  store.put(fill(1, {1}));
  store.put(fill(2, {2}));
  store.put(fill(3, {1, 2}));
  store.put(fill(4, {}));
  store.put(fill(5, {1}, "other"));
  Doubt doubt = store.doubt("d", tables({1}));
  EXPECT_FALSE(has(1));
  EXPECT_TRUE(has(2));
  EXPECT_FALSE(has(3));
  EXPECT_TRUE(has(4));
  EXPECT_TRUE(has(5)) << "the same oid in another database is another table";
  doubt.end(true);
  EXPECT_FALSE(has(1));
}

TEST_F(StoreTest, NothingIsStoredInDoubtNorFromReadsThatBeganBeforeItsEnd) {
  const Fill before = fill(1);
  Doubt doubt = store.doubt("d", tables({1}));
  const Fill within = fill(1);
  EXPECT_FALSE(store.put(before));
  EXPECT_FALSE(store.put(within));
  EXPECT_TRUE(store.put(fill(2, {2}))) << "another table is not in doubt";
  doubt.end(true);
  EXPECT_FALSE(store.put(before));
  EXPECT_FALSE(store.put(within));
  EXPECT_TRUE(store.put(fill(1)));
  EXPECT_TRUE(has(1));
}

TEST_F(StoreTest, TwoWritersAtOnce) {
  Doubt first = store.doubt("d", tables({1})), second = store.doubt("d", tables({1, 2}));
  first.end(true);
  EXPECT_FALSE(store.put(fill(1)));
  second.end(true);
  EXPECT_TRUE(store.put(fill(1)));
}

// The second writer begins while the first one still drops the table's many entries.
TEST_F(StoreTest, EachWriterGoesOnWhenAllEntriesHaveGone) {
  constexpr std::uint64_t kMany = 100'000;
  for (std::uint64_t n = 0; n < kMany; ++n) ASSERT_TRUE(store.put(fill(n)));
  std::thread first([this] { store.doubt("d", tables({1})).end(true); });
  while (store.figures().entries == kMany) std::this_thread::yield();
  const Doubt second = store.doubt("d", tables({1, 2}));
  std::size_t left = 0;
  for (std::uint64_t n = 0; n < kMany; ++n) left += has(n) ? 1 : 0;
  EXPECT_EQ(left, 0u);
  first.join();
}

TEST_F(StoreTest, AnUnknownOutcomeKeepsTheTableOutForAWhile) {
  { const Doubt lost = store.doubt("d", tables({1})); }
  EXPECT_FALSE(store.put(fill(1)));
  EXPECT_TRUE(store.put(fill(2, {2})));
  clock.time += Doubt::kUnknownLingers;
  EXPECT_TRUE(store.put(fill(1)));
}

TEST_F(StoreTest, AWholeDatabase) {
  store.put(fill(1, {1}));
  store.put(fill(2, {}));
  store.put(fill(3, {1}, "other"));
  const Fill before = fill(1);
  Doubt doubt = store.doubt("d", Scope{.database = true});
  EXPECT_FALSE(has(1));
  EXPECT_FALSE(has(2));
  EXPECT_TRUE(has(3));
  EXPECT_FALSE(store.put(fill(1, {1})));
  EXPECT_FALSE(store.put(fill(2, {})));
  EXPECT_TRUE(store.put(fill(4, {1}, "other")));
  doubt.end(true);
  EXPECT_FALSE(store.put(before));
  EXPECT_TRUE(store.put(fill(1)));
  EXPECT_TRUE(has(1));
}

TEST_F(StoreTest, DatabasesWithoutEnd) {
  const std::size_t many = 2 * Store::kMaxDatabases;
  const auto name = [](std::size_t i) { return "d" + std::to_string(i); };
  for (std::size_t i = 0; i < many; ++i) EXPECT_TRUE(store.put(fill(i, {1}, name(i)))) << i;
  for (const std::size_t changed : {std::size_t{3}, many - 3}) {
    store.doubt(name(changed), Scope{.tables = {1}}).end(/*known=*/true);
    EXPECT_FALSE(has(changed)) << "others may have gone with it";
  }
  EXPECT_TRUE(store.put(fill(many - 3, {1}, name(many - 3)))) << "and it goes on";
  EXPECT_TRUE(has(many - 3));
}

TEST(Database, ForgetsTablesThatHaveEntriesToo) {
  Database database;
  for (std::uint32_t oid = 0; oid < Store::kMaxTables; ++oid) database.table(oid).refs.push_back(oid);
  database.table(1).changes.in_doubt = 1;
  database.table(2).changes.last = 7;
  const std::uint64_t generation = database.generation;
  database.table(Store::kMaxTables);
  EXPECT_EQ(database.tables.size(), 2u) << "the new one, and one that is in doubt";
  EXPECT_NE(database.generation, generation) << "what hung on the others is dead";
  EXPECT_EQ(database.table(2).changes.last, 7u) << "who began before its change still did";
}

TEST_F(StoreTest, TablesWithoutEnd) {
  const std::uint32_t many = 2 * Store::kMaxTables;
  const Fill before = fill(0, {0});
  store.doubt("d", tables({0})).end(true);
  for (std::uint32_t n = 1; n < many; ++n) ASSERT_TRUE(store.put(fill(n, {n}))) << n;
  EXPECT_FALSE(store.put(before));
  EXPECT_TRUE(has(many - 1));
  store.doubt("d", tables({many - 1})).end(true);
  store.doubt("d", tables({1})).end(true);
  EXPECT_FALSE(has(many - 1));
  EXPECT_FALSE(has(1));
}

TEST_F(StoreTest, EverythingEvenOfDatabasesNotYetKnown) {
  store.put(fill(1));
  const Fill before = fill(2, {1}, "new");
  Doubt doubt = store.doubt("d", Scope{.everything = true});
  EXPECT_FALSE(has(1));
  EXPECT_FALSE(store.put(fill(1)));
  EXPECT_FALSE(store.put(fill(2, {1}, "new")));
  doubt.end(true);
  EXPECT_FALSE(store.put(before));
  EXPECT_TRUE(store.put(fill(2, {1}, "new")));
  store.flush();
  EXPECT_FALSE(has(2));
}

// What a standby has not replayed yet it cannot have shown.
TEST_F(StoreTest, FromAStandbyOnlyWhatItHadReplayed) {
  Doubt doubt = store.doubt("d", tables({1}));
  doubt.end(true);
  Fill read = fill(1);
  read.seen_to = clock.time;
  EXPECT_FALSE(store.put(read)) << "replayed up to a moment that is not after the change";
  read.seen_to = clock.time + std::chrono::nanoseconds(1);
  EXPECT_TRUE(store.put(read));
}

TEST_F(StoreTest, StoringAgainReplaces) {
  store.put(fill(1, {1}));
  Fill again = fill(1, {2});
  again.rest = "new";
  store.put(again);
  EXPECT_EQ(store.find(key(1))->rest(), "new");
  EXPECT_EQ(store.figures().entries, 1u);
  store.doubt("d", tables({1})).end(true);
  EXPECT_TRUE(has(1)) << "it hangs on table 2 now";
  store.doubt("d", tables({2})).end(true);
  EXPECT_FALSE(has(1));
  EXPECT_EQ(store.figures().entries, 0u);
  EXPECT_EQ(store.figures().used_bytes, 0u);
}

TEST_F(StoreTest, EntriesExpire) {
  Store short_lived(clock, {.expire = std::chrono::seconds(5)});
  short_lived.put(fill(1));
  clock.time += std::chrono::seconds(5) - std::chrono::nanoseconds(1);
  EXPECT_TRUE(short_lived.find(key(1)));
  clock.time += std::chrono::nanoseconds(1);
  EXPECT_FALSE(short_lived.find(key(1)));
}

TEST_F(StoreTest, TooLargeIsNotStored) {
  Store small(clock, {.max_answer_bytes = 10});
  Fill f = fill(1);
  f.rest = std::string(9, 'x');
  EXPECT_TRUE(small.put(f));
  f.rest += 'x';
  EXPECT_FALSE(small.put(f));
}

TEST_F(StoreTest, WhatIsUsedStaysWhenRoomIsNeeded) {
  constexpr std::size_t kRoom = 1000;
  Store small(clock, {.max_entries = kRoom});
  for (std::uint64_t n = 0; n < 20 * kRoom; ++n) {
    ASSERT_TRUE(small.put(fill(n)));
    for (std::uint64_t hot = 0; hot < std::min<std::uint64_t>(n + 1, 50); ++hot) small.find(key(hot));
    ASSERT_LE(small.figures().entries, kRoom);
  }
  for (std::uint64_t hot = 0; hot < 50; ++hot) EXPECT_TRUE(small.find(key(hot))) << hot;
  small.doubt("d", tables({1})).end(true);
  EXPECT_EQ(small.figures().entries, 0u) << "evicted and living entries are told apart";
}

TEST_F(StoreTest, TheLimitInOctetsHolds) {
  constexpr std::size_t kLimit = 1 << 20;
  Store small(clock, {.total_bytes = kLimit});
  for (std::uint64_t n = 0; n < 2000; ++n) {
    Fill f = fill(n, {static_cast<std::uint32_t>(n % 7)});
    f.rest.assign(n % 5000, 'x');
    EXPECT_TRUE(small.put(f));
    ASSERT_LE(small.figures().used_bytes, kLimit);
  }
  EXPECT_GT(small.figures().entries, 100u);
  Store none(clock, {.total_bytes = 100});
  EXPECT_FALSE(none.put(fill(1)));
  EXPECT_EQ(none.figures().used_bytes, 0u);
}

// However entries go: by eviction, by a change, by their text, by being stored anew.
TEST_F(StoreTest, WhatIsNotThereIsNotLookedFor) {
  constexpr std::size_t kRoom = 100;
  Store small(clock, {.max_entries = kRoom});
  const auto may_have = [&small] {
    std::size_t count = 0;
    for (std::uint64_t n = 0; n < 10 * kRoom; ++n) count += small.sightings().may_have(key(n)) ? 1 : 0;
    return count;
  };
  for (std::uint64_t n = 0; n < 10 * kRoom; ++n) ASSERT_TRUE(small.put(fill(n, {static_cast<std::uint32_t>(n % 3)})));
  for (std::uint64_t n = 10 * kRoom - 10; n < 10 * kRoom; ++n) ASSERT_TRUE(small.put(fill(n)));
  EXPECT_GE(may_have(), small.figures().entries);
  EXPECT_LT(may_have(), small.figures().entries + 10) << "few keys share a slot";
  EXPECT_GT(small.figures().entries, kRoom / 2);
  EXPECT_EQ(small.remove(key(10 * kRoom - 1 + 1'000'000)), 1u);
  small.doubt("d", tables({0, 1, 2})).end(true);
  EXPECT_EQ(may_have(), 0u);
}

TEST_F(StoreTest, AddsUpWhatWorkersCount) {
  Tally& one = store.tally();
  Tally& other = store.tally();
  Tally::count(one.selects);
  Tally::count(other.selects);
  Tally::count(other.passed);
  Tally::count(one.hits);
  EXPECT_EQ(store.figures().selects, 2u);
  EXPECT_EQ(store.figures().passed, 1u);
  EXPECT_EQ(store.figures().hits, 1u);
}

TEST_F(StoreTest, RemovesAllVariantsOfAText) {
  for (std::uint64_t n = 1; n <= 3; ++n) {
    Fill f = fill(n);
    f.text = key(77);
    store.put(f);
  }
  store.put(fill(4));
  EXPECT_EQ(store.remove(key(77)), 3u);
  EXPECT_FALSE(has(1) || has(2) || has(3));
  EXPECT_TRUE(has(4));
  EXPECT_EQ(store.remove(key(77)), 0u);
}

TEST_F(StoreTest, PreparedTransactionsAreKnownByTheirNames) {
  store.keep_prepared("d", "g", tables({1, 2}));
  EXPECT_FALSE(store.take_prepared("e", "g"));
  EXPECT_EQ(store.take_prepared("d", "g"), tables({1, 2}));
  EXPECT_FALSE(store.take_prepared("d", "g"));
  store.keep_prepared("d", "g", tables({1}));
  store.keep_prepared("d", "g", tables({2}));
  EXPECT_EQ(store.take_prepared("d", "g"), tables({2})) << "the last one of the name";
  // Those that others have finished do not keep new ones out.
  for (std::size_t i = 0; i <= Store::kMaxPrepared; ++i) store.keep_prepared("d", std::to_string(i), tables({3}));
  EXPECT_EQ(store.take_prepared("d", std::to_string(Store::kMaxPrepared)), tables({3}));
  EXPECT_FALSE(store.take_prepared("d", "0"));
}

// The promise of the store, by many threads on few tables: a hit never shows a state older than the last change whose
// end had been told before the look-up began. Run under TSan as well.
TEST(StoreThreads, NoHitIsOlderThanAChangeThatWasSeen) {
  constexpr int kTables = 4, kReaders = 3, kWriters = 2, kMostWrites = 4'000'000;
  constexpr std::uint64_t kHits = 5000;
  SystemClock clock;
  Store store(clock, {.max_entries = 64});
  std::atomic<std::uint64_t> committed[kTables]{};  // what a server would show
  std::atomic<std::uint64_t> told[kTables]{};       // what a client knows to be committed
  std::mutex row_lock[kTables];
  std::atomic<int> writing{kWriters};
  std::atomic<std::uint64_t> hits{0};
  const auto write = [&](unsigned seed) {
    for (int i = 0; i < kMostWrites && hits < kHits; ++i) {
      const std::uint32_t t = (seed = seed * 1103515245 + 12345) >> 16 & (kTables - 1);
      const std::lock_guard lock(row_lock[t]);
      const bool wide = i % 97 == 0;
      Doubt doubt = store.doubt("d", wide ? Scope{.database = true} : Scope{.tables = {t}});
      const std::uint64_t now = ++committed[t];  // visible to others before we are told
      doubt.end(true);
      told[t] = now;
    }
    --writing;
  };
  const auto read = [&](unsigned seed) {
    while (writing > 0) {
      const std::uint32_t t = (seed = seed * 1103515245 + 12345) >> 16 & (kTables - 1);
      const std::uint64_t at_least = told[t];
      if (const auto found = store.find(key(t))) {
        ++hits;
        ASSERT_GE(std::stoull(std::string(found->rest())), at_least);
        continue;
      }
      Fill f;
      f.key = key(t);
      f.database = "d";
      f.tables = {t};
      f.began = store.now();
      f.rest = std::to_string(committed[t]);
      store.put(f);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kWriters; ++i) threads.emplace_back(write, i + 1);
  for (unsigned i = 0; i < kReaders; ++i) threads.emplace_back(read, i + 100);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(hits, kHits) << "it tests nothing when nothing is found";
}

}  // namespace
}  // namespace herdgate::cache
