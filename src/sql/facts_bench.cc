// Parse and walk, and the warm look-up (target: 200 ns).
#include <benchmark/benchmark.h>

#include <string>

#include "sql/facts.h"

namespace {

using herdgate::sql::FactsCache;
using herdgate::sql::parse_facts;

constexpr std::string_view kTexts[] = {
    "SELECT abalance FROM pgbench_accounts WHERE aid = 12345",
    "UPDATE pgbench_accounts SET abalance = abalance + -4711 WHERE aid = 12345;",
    "BEGIN;",
    "SELECT c.relname, n.nspname, pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c LEFT JOIN "
    "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m','S','f','') AND n.nspname "
    "<> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2",
};

void parse_and_walk(benchmark::State& state) {
  const std::string_view text = kTexts[state.range(0)];
  for (auto _ : state) benchmark::DoNotOptimize(parse_facts(text, {}));
}
BENCHMARK(parse_and_walk)->DenseRange(0, 3);

void warm_look_up(benchmark::State& state) {
  FactsCache cache(10'000);
  const std::string_view text = kTexts[state.range(0)];
  cache.facts(text, {});
  for (auto _ : state) benchmark::DoNotOptimize(cache.facts(text, {}));
}
BENCHMARK(warm_look_up)->DenseRange(0, 3);

// As a worker sees it: many different texts, so the entries are not all in the nearest cache.
void warm_look_up_of_many(benchmark::State& state) {
  FactsCache cache(10'000);
  std::vector<std::string> texts;
  for (int i = 0; i < state.range(0); ++i) {
    texts.push_back("SELECT abalance FROM pgbench_accounts WHERE aid = " + std::to_string(i * 7919));
    cache.facts(texts.back(), {});
  }
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(cache.facts(texts[at], {}));
    at = (at + 617) % texts.size();
  }
}
BENCHMARK(warm_look_up_of_many)->Arg(100)->Arg(5000);

}  // namespace
