// Cost of a decision. Wanted: 200 ns for a plain SELECT on two relations.
#include <benchmark/benchmark.h>

#include "route/route.h"

namespace herdgate::route {
namespace {

struct Scene {
  sql::Facts facts;
  vsession::SessionState state;
  sql::Answers answers;
  cluster::View view;
  config::Settings settings;

  explicit Scene(sql::Kind kind) {
    facts.statements.emplace_back();
    sql::Statement& s = facts.statements.back();
    s.kind = kind;
    s.relations = {{"", "pgbench_accounts"}, {"public", "pgbench_branches"}};
    s.functions = {{"", "abs"}};
    facts.first_char = facts.first_nonblank = 's';
    answers.relations.assign(2, {.exists = true});
    answers.functions.assign(1, {.exists = true});
    for (int i = 0; i < 3; ++i) view.nodes.push_back({.id = NodeId{i}, .weight = 1, .status = cluster::NodeStatus::up});
    view.primary = NodeId{0};
    state.lb_node = NodeId{1};
  }
  Input input() const {
    return {.facts = facts,
            .state = state,
            .answers = answers,
            .view = view,
            .settings = settings,

            .text = "SELECT abs(a) FROM pgbench_accounts"};
  }
};

void plain_select(benchmark::State& bench) {
  const Scene scene(sql::Kind::select);
  for (auto _ : bench) benchmark::DoNotOptimize(decide(scene.input()));
}
BENCHMARK(plain_select);

void plain_select_in_transaction(benchmark::State& bench) {
  Scene scene(sql::Kind::select);
  scene.state.tx.status = vsession::TxStatus::open;
  scene.settings.delay_threshold = 1000;
  for (auto _ : bench) benchmark::DoNotOptimize(decide(scene.input()));
}
BENCHMARK(plain_select_in_transaction);

void choice_of_node(benchmark::State& bench) {
  const Scene scene(sql::Kind::select);
  for (auto _ : bench)
    benchmark::DoNotOptimize(choose_lb_node({.view = scene.view, .settings = scene.settings, .draw2 = 0.5}));
}
BENCHMARK(choice_of_node);

void plain_update(benchmark::State& bench) {
  const Scene scene(sql::Kind::update);
  for (auto _ : bench) benchmark::DoNotOptimize(decide(scene.input()));
}
BENCHMARK(plain_update);

void needs_of_select(benchmark::State& bench) {
  const Scene scene(sql::Kind::select);
  for (auto _ : bench) benchmark::DoNotOptimize(needs(scene.facts, scene.state, scene.settings));
}
BENCHMARK(needs_of_select);

void questions_of_select(benchmark::State& bench) {
  const Scene scene(sql::Kind::select);
  for (auto _ : bench) benchmark::DoNotOptimize(questions(scene.facts, scene.state, scene.settings));
}
BENCHMARK(questions_of_select);

}  // namespace
}  // namespace herdgate::route
