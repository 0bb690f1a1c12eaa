// The store: a hit and a miss, by one thread and by two, among a million entries; and what an entry costs in memory.
#include <benchmark/benchmark.h>

#include <malloc.h>

#include <memory>

#include "cache/admission.h"
#include "cache/key.h"
#include "cache/store.h"

namespace herdgate::cache {
namespace {

constexpr std::uint64_t kMany = 1'000'000;

Hash128 key(std::uint64_t n) { return {n * 0x9e3779b97f4a7c15ULL, n * 0xff51afd7ed558ccdULL}; }

Fill fill(std::uint64_t n) {
  Fill f;
  f.key = f.text = key(n);
  f.database = "d";
  f.tables = {static_cast<std::uint32_t>(n % 100)};
  f.head = std::string(30, 'T');
  f.rest = std::string(40, 'D');
  return f;
}

struct Filled {
  SystemClock clock;
  Store store{clock, {.total_bytes = 4ull << 30, .max_entries = kMany}};
  double bytes_each = 0;
  Filled() {
    const auto before = mallinfo2();
    for (std::uint64_t n = 0; n < kMany; ++n) store.put(fill(n));
    const auto after = mallinfo2();
    bytes_each = static_cast<double>(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / kMany;
  }
};
Filled& filled() {
  static Filled one;
  return one;
}

void find_hit(benchmark::State& state) {
  Store& store = filled().store;
  std::uint64_t n = static_cast<std::uint64_t>(state.thread_index()) * 7919;
  for (auto _ : state) {
    n = n * 2862933555777941757ULL + 3037000493ULL;
    benchmark::DoNotOptimize(store.find(key((n >> 20) % kMany)));
  }
  state.counters["bytes_each"] = benchmark::Counter(filled().bytes_each, benchmark::Counter::kAvgThreads);
}
BENCHMARK(find_hit)->Threads(1)->Threads(2);

void find_same(benchmark::State& state) {
  Store& store = filled().store;
  for (auto _ : state) benchmark::DoNotOptimize(store.find(key(4711)));
}
BENCHMARK(find_same)->Threads(1)->Threads(2);

void find_miss(benchmark::State& state) {
  Store& store = filled().store;
  std::uint64_t n = kMany;
  for (auto _ : state) benchmark::DoNotOptimize(store.find(key(++n)));
}
BENCHMARK(find_miss)->Threads(1)->Threads(2);

// Full: every store evicts another.
void put_and_evict(benchmark::State& state) {
  Store& store = filled().store;
  std::uint64_t n = (static_cast<std::uint64_t>(state.thread_index()) + 2) * 1'000'000'000;
  for (auto _ : state) store.put(fill(++n));
}
BENCHMARK(put_and_evict)->Threads(1)->Threads(2);

// What a read that does not come again costs in a flood.
void let_pass(benchmark::State& state) {
  static Sightings sightings;
  Admission admission(sightings);
  std::uint64_t n = (static_cast<std::uint64_t>(state.thread_index()) + 2) * 1'000'000'000;
  for (auto _ : state) {
    const Hash128 now = key(++n);
    benchmark::DoNotOptimize(admission.wants(now));
    admission.missed(now);
  }
}
BENCHMARK(let_pass)->Threads(1)->Threads(2);

void make_key(benchmark::State& state) {
  const HashKey secret{1, 2};
  const Hash128 viewer{3, 4};
  for (auto _ : state)
    benchmark::DoNotOptimize(
        key_of(viewer, text_hash(secret, "SELECT abalance FROM pgbench_accounts WHERE aid = 12345")));
}
BENCHMARK(make_key);

}  // namespace
}  // namespace herdgate::cache
