// Golden sequences: golden/*.txt hold events and what the machine made of them. HG_UPDATE_GOLDEN=1 rewrites the
// expectations; read the difference before committing it.
//
// Shape    "=== title", event lines, "---", expected lines. `node` lines set the Rules used by the next start or
//          reload.
#include "cluster/state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace herdgate::cluster {
namespace {

const char* status_word(const Node& node) {
  static constexpr const char* kWords[] = {"unused", "waiting", "up", "down"};
  return kWords[static_cast<int>(node.status)];
}
const char* role_word(Role role) {
  static constexpr const char* kWords[] = {"unknown", "primary", "standby"};
  return kWords[static_cast<int>(role)];
}

// Plays one sequence and writes down everything that came out.
class Player {
 public:
  std::string play(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) play_line(line);
    return out_.str();
  }

 private:
  void play_line(const std::string& line) {
    std::istringstream in(line);
    std::string word;
    in >> word;
    if (word.empty() || word[0] == '#') return;
    if (word == "node") return node(in);
    if (word == "drop") return drop(in);
    if (word == "set") return set(in);
    out_ << "> " << line << "\n";
    if (const auto e = event(word, in)) return feed(*e);
    ADD_FAILURE() << "not understood: " << line;
  }

  void node(std::istringstream& in) {
    NodeSetup n;
    in >> n.id.value >> n.host >> n.port >> n.weight;
    for (std::string flag; in >> flag;) {
      if (flag == "always_primary") n.always_primary = true;
      if (flag == "disallow") n.allow_to_failover = false;
      if (flag == "checked") n.health_checked = true;
    }
    std::erase_if(rules_.nodes, [&](const NodeSetup& other) { return other.id == n.id; });
    rules_.nodes.push_back(n);
    std::sort(rules_.nodes.begin(), rules_.nodes.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  }
  void drop(std::istringstream& in) {
    const NodeId id = read_id(in);
    std::erase_if(rules_.nodes, [&](const NodeSetup& n) { return n.id == id; });
  }
  void set(std::istringstream& in) {
    std::string name, value;
    in >> name >> value;
    if (name == "mode") rules_.streaming = value == "streaming";
    if (name == "asks") rules_.asks = value == "on";
    FailoverRules& failover = rules_.failover;
    if (name == "failover_on_backend_error") failover.on_backend_error = value == "on";
    if (name == "failover_on_backend_shutdown") failover.on_backend_shutdown = value == "on";
    if (name == "detach_false_primary") failover.detach_false_primary = value == "on";
    if (name == "auto_failback") failover.auto_failback = value == "on";
    if (name == "auto_failback_interval") failover.auto_failback_interval = std::chrono::seconds(std::stoi(value));
    if (name == "search_primary_node_timeout")
      failover.search_primary_node_timeout = std::chrono::seconds(std::stoi(value));
    if (name == "failover_method") failover.builtin = value == "builtin";
    if (name == "failover_command") failover.failover_command = value + rest(in, " ");
    if (name == "failback_command") failover.failback_command = value + rest(in, " ");
    if (name == "follow_primary_command") failover.follow_primary_command = value + rest(in, " ");
    if (name == "delay_threshold") rules_.delay_threshold_bytes = std::stoull(value);
    if (name == "delay_threshold_by_time") rules_.delay_threshold_time = std::chrono::milliseconds(std::stoi(value));
    if (name == "log_standby_delay")
      rules_.delay_log = value == "always" ? DelayLog::always
                         : value == "none" ? DelayLog::none
                                           : DelayLog::if_over_threshold;
  }
  static NodeId read_id(std::istringstream& in) {
    int id = -1;
    in >> id;
    return NodeId(id);
  }
  static std::string rest(std::istringstream& in, const std::string& before = "") {
    std::string text;
    std::getline(in >> std::ws, text);
    return text.empty() ? text : before + text;
  }

  std::optional<Event> event(const std::string& word, std::istringstream& in) {
    if (word == "start") return start(in);
    if (word == "reload") return SettingsChanged{rules_};
    if (word == "probe") return probe(in);
    if (word == "lag") return lag(in);
    if (word == "failed") return ConnectionFailed{read_id(in), rest(in) == "shutdown"};
    if (word == "check") return check(in);
    if (word == "answer") return answer(in);
    if (word == "attach") return attach(in);
    if (word == "detach") return Requested{{Request::detach, read_id(in)}};
    if (word == "promote") return Requested{{Request::promote, read_id(in)}};
    if (word == "switchover") return Requested{{Request::switchover, read_id(in)}};
    if (word == "quarantine") return Requested{{Request::quarantine, read_id(in)}};
    if (word == "ended") return ended(in);
    if (word == "promoted") return promoted(in);
    if (word == "alarm") return alarm(in);
    if (word == "checked") return SwitchStepEnded{SwitchStep::check, state_.operations, rest(in)};
    if (word == "drained") return SwitchStepEnded{SwitchStep::drain, state_.operations, rest(in)};
    if (word == "stopped") return stopped(in);
    if (word == "behind") return behind(in);
    if (word == "first") return FirstConnection{read_id(in)};
    return std::nullopt;
  }
  Event start(std::istringstream& in) {
    Started started{rules_, std::nullopt, std::nullopt};
    std::string text, word;
    if (!(in >> word)) return started;  // no file
    if (word == "unfinished") {         // start unfinished 0 2 file up down
      started.unfinished = Unfinished{read_id(in), kNoNode};
      started.unfinished->to = read_id(in);
      in >> word;
    }
    while (in >> word) text += word + "\n";
    started.file = parse_state_file(text);
    return started;
  }
  // attach 2 | attach 2 0: it was seen to receive from node 0
  static Event attach(std::istringstream& in) {
    Request request{.kind = Request::attach, .node = read_id(in)};
    if (in >> std::ws && !in.eof()) request.follows = read_id(in);
    return Requested{request};
  }
  static Event probe(std::istringstream& in) {
    ProbeResult r;
    r.node = read_id(in);
    std::string outcome;
    in >> outcome;
    if (outcome == "primary") r.in_recovery = false;
    if (outcome == "standby") r.in_recovery = true;
    if (outcome == "refused") r.outcome = Outcome::refused;
    if (outcome == "not_ready") r.outcome = Outcome::not_ready;
    if (outcome == "unreachable" || outcome == "nameless") r.outcome = Outcome::unreachable;
    r.nameless = outcome == "nameless";
    r.text = rest(in);
    read_upstream(r);
    return r;
  }
  // probe 1 standby from a 5432
  static void read_upstream(ProbeResult& r) {
    std::istringstream in(r.text);
    std::string word;
    Upstream upstream;
    if (!(in >> word >> upstream.host >> upstream.port) || word != "from") return;
    if (upstream.host == "local") upstream.host.clear();
    r.upstream = upstream;
    r.text.clear();
  }
  static Event check(std::istringstream& in) {
    HealthChecked h{read_id(in), Outcome::healthy, {}};
    std::string outcome;
    in >> outcome;
    if (outcome == "refused") h.outcome = Outcome::refused;
    if (outcome == "unreachable") h.outcome = Outcome::unreachable;
    h.text = rest(in);
    return h;
  }
  static Event answer(std::istringstream& in) {
    const ProbeResult r = std::get<ProbeResult>(probe(in));
    return Answered{r.node, r.outcome, r.in_recovery, r.text, r.nameless};
  }
  static Event ended(std::istringstream& in) {
    std::string kind;
    in >> kind;
    return CommandEnded{kind == "failover"   ? RunCommand::failover
                        : kind == "failback" ? RunCommand::failback
                                             : RunCommand::follow_primary,
                        read_id(in)};
  }
  // behind 1 why | behind 1 silent why
  static Event behind(std::istringstream& in) {
    LeftBehind b{read_id(in), {}};
    const auto at = in.tellg();
    std::string word;
    b.silent = in >> word && word == "silent";
    if (!b.silent) in.seekg(at);
    b.reason = rest(in);
    return b;
  }
  // promoted 1 | promoted 1 already | promoted -1 why | promoted 1 behind 2 why | promoted 1 pointed 2
  static Event promoted(std::istringstream& in) {
    PromotionEnded p;
    p.promoted = read_id(in);
    std::string word;
    const auto at = in.tellg();
    if (in >> word && word == "behind") {
      const NodeId id = read_id(in);
      p.left_behind.push_back({id, rest(in)});
    } else if (word == "pointed") {
      while (!in.eof()) p.pointed.push_back(read_id(in));
    } else if (word == "already") {
      p.already = true;
    } else if (!word.empty()) {
      in.seekg(at);
      p.text = rest(in);
    }
    return p;
  }
  // stopped | stopped gone | stopped not why
  Event stopped(std::istringstream& in) {
    SwitchStepEnded event{SwitchStep::stop, state_.operations, {}};
    std::string word;
    in >> word;
    event.returned = word != "gone";
    if (word == "not") event.problem = rest(in);
    return event;
  }
  Event alarm(std::istringstream& in) {
    std::string kind;
    in >> kind;
    return AlarmRang{kind == "search" ? Alarm::search : Alarm::successors, state_.operations};
  }
  // lag 1 4096 streaming async, 2 3000us streaming sync | lag at 9000, 1 4096: the primary's position
  static Event lag(std::istringstream& in) {
    ReplicationReport report;
    report.primary_position = 1'000'000;
    std::istringstream whole(rest(in));
    for (std::string part; std::getline(whole, part, ',');) {
      std::istringstream piece(part);
      if (part.starts_with("at ")) {
        report.primary_position = std::stoull(part.substr(3));
        continue;
      }
      NodeReplication r;
      std::string delay;
      piece >> r.node.value >> delay >> r.state >> r.sync_state;
      if (delay.ends_with("us"))
        r.delay_time = std::chrono::microseconds(std::stoll(delay));
      else if (delay != "-")
        r.delay_bytes = std::stoull(delay);
      report.nodes.push_back(r);
    }
    return report;
  }

  void feed(const Event& e) {
    auto [state, actions] = step(state_, e, WallTime(std::chrono::seconds(++turn_)));
    state_ = std::move(state);
    for (const Said& said : actions.log) {
      out_ << level_name(said.level) << ": " << said.text << "\n";
      if (!said.detail.empty()) out_ << "  DETAIL: " << said.detail << "\n";
    }
    for (NodeId id : actions.probe) out_ << "probe " << id.value << "\n";
    for (NodeId id : actions.ask) out_ << "ask " << id.value << "\n";
    for (const RunCommand& c : actions.run) out_ << "run " << c.line << "\n";
    if (actions.promote) promotion(*actions.promote);
    if (actions.switch_step) switch_step(*actions.switch_step);
    for (const SwitchoverEnd& e : actions.switchovers_ended)
      out_ << "switchover to " << e.to.value << " ended: " << (e.problem.empty() ? "done" : e.problem) << "\n";
    if (actions.refusal)
      out_ << "refused " << level_name(actions.refusal->level) << ": " << actions.refusal->text << " | "
           << actions.refusal->detail << "\n";
    for (const Alarm& a : actions.alarms)
      out_ << "alarm " << (a.kind == Alarm::search ? "search" : "successors") << " after "
           << std::chrono::duration_cast<std::chrono::milliseconds>(a.after).count() << " ms\n";
    if (actions.state_file) out_ << "file " << one_line(*actions.state_file) << "\n";
    if (actions.publish) view();
  }
  void promotion(const Promotion& p) {
    out_ << "promote one of";
    for (NodeId id : p.standbys) out_ << " " << id.value;
    out_ << " in place of " << p.old_primary.value << ", wanted " << p.wanted.value << (p.planned ? ", planned" : "")
         << (p.resumed ? ", resumed" : "") << (p.resumed && !p.patient ? ", no more patience" : "") << "\n";
  }
  void switch_step(const SwitchStep& s) {
    static constexpr const char* kWords[] = {"check", "drain", "stop"};
    out_ << "step " << kWords[s.kind] << " from " << s.from.value << " to " << s.to.value << "\n";
  }
  static std::string one_line(std::string text) {
    for (char& c : text)
      if (c == '\n') c = ' ';
    while (text.ends_with(' ')) text.pop_back();
    return text;
  }
  void view() {
    const ViewPtr v = view_of(state_);
    EXPECT_EQ(v->epoch, state_.epoch);
    out_ << "view " << v->epoch << ":";
    for (const Node& n : v->nodes) {
      out_ << " [" << n.id.value << " " << status_word(n) << " " << role_word(n.real_role);
      if (n.delay_bytes) out_ << " " << *n.delay_bytes;
      if (n.delay_time) out_ << " " << n.delay_time->count() << "us";
      if (!n.replication_state.empty()) out_ << " " << n.replication_state << "/" << n.replication_sync_state;
      out_ << "]";
    }
    out_ << " main " << v->main().value << " primary " << v->primary.value << " writes " << v->write_node().value
         << (v->switching ? " switching" : "") << (v->primary_awaited ? " awaited" : "") << "\n";
  }

  Rules rules_;
  State state_;
  int turn_ = 0;
  std::ostringstream out_;
};

struct Sequence {
  std::string title;
  std::vector<std::string> events;
  std::string expected;
};

std::vector<Sequence> read_sequences(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<Sequence> all;
  bool expecting = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("=== ") && !expecting) {
      all.push_back({line.substr(4), {}, {}});
    } else if (line == "---") {
      expecting = true;
    } else if (line == "...") {
      expecting = false;
    } else if (!all.empty()) {
      if (expecting)
        all.back().expected += line + "\n";
      else if (!line.empty())
        all.back().events.push_back(line);
    }
  }
  return all;
}

void write_sequences(const std::filesystem::path& path, const std::vector<Sequence>& all) {
  std::ofstream out(path);
  for (const Sequence& s : all) {
    out << "=== " << s.title << "\n";
    for (const std::string& e : s.events) out << e << "\n";
    out << "---\n" << s.expected << "...\n\n";
  }
}

TEST(ClusterGolden, EverySequenceComesOutAsWritten) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(HG_SOURCE_DIR "/src/cluster/golden")) {
    std::vector<Sequence> all = read_sequences(entry.path());
    for (Sequence& s : all) {
      const std::string got = Player().play(s.events);
      if (std::getenv("HG_UPDATE_GOLDEN"))
        s.expected = got;
      else
        EXPECT_EQ(got, s.expected) << entry.path().filename() << ": " << s.title;
      ++count;
    }
    if (std::getenv("HG_UPDATE_GOLDEN")) write_sequences(entry.path(), all);
  }
  EXPECT_GE(count, 25u);
}

TEST(Cluster, WeightsAreSharesOfAllConfiguredNodes) {
  Rules rules;
  rules.nodes = {{NodeId(0), "/tmp", 5432, 1}, {NodeId(2), "/tmp", 5433, 3}};
  const State s = step({}, Started{rules, std::nullopt, std::nullopt}, {}).state;
  EXPECT_DOUBLE_EQ(s.members[0].node.weight, 0.25);
  EXPECT_DOUBLE_EQ(s.members[1].node.weight, 0.75);
  rules.nodes[0].weight = rules.nodes[1].weight = 0;
  EXPECT_DOUBLE_EQ(step(s, SettingsChanged{rules}, {}).state.members[1].node.weight, 0);
}

// A standby that receives from elsewhere, 35 rounds behind all the time.
TEST(Cluster, AConstantDelayStaysWhatItIs) {
  using std::chrono::seconds;
  Rules rules;
  rules.nodes = {{NodeId(0), "a", 5432, 1}, {NodeId(1), "b", 5433, 1}};
  rules.delay_threshold_time = std::chrono::milliseconds(1);
  State s = step({}, Started{rules, std::nullopt, std::nullopt}, {}).state;
  s = step(s, ProbeResult{.node = NodeId(0), .in_recovery = false}, {}).state;
  s = step(s, ProbeResult{.node = NodeId(1), .in_recovery = true}, {}).state;
  for (int round = 0; round < 1000; ++round) {
    ReplicationReport report{{{NodeId(0), 0, {}, "", ""}, {NodeId(1), 3500, {}, "", ""}}, 100'000 + 100u * round};
    if (round == 0) report.nodes[1].delay_time = seconds(35);
    s = step(s, report, WallTime(seconds(round))).state;
    EXPECT_GE(s.members[1].node.delay_time, seconds(35)) << round;
    EXPECT_LE(s.members[1].node.delay_time, round < 35 ? seconds(35 + round) : seconds(40)) << round;
    EXPECT_LE(s.rounds.size(), kMaxRounds);
  }
}

TEST(Cluster, EventsAboutUnknownNodesChangeNothing) {
  Rules rules;
  rules.nodes = {{NodeId(0), "/tmp", 5432, 1}};
  const State s = step({}, Started{rules, std::nullopt, std::nullopt}, {}).state;
  for (const Event& e : {Event(ProbeResult{NodeId(7), Outcome::unreachable, {}, "x"}),
                         Event(ConnectionFailed{NodeId(-1)}), Event(FirstConnection{NodeId(128)})}) {
    const Stepped after = step(s, e, {});
    EXPECT_EQ(after.state, s);
    EXPECT_FALSE(after.actions.publish);
    EXPECT_TRUE(after.actions.log.empty());
    EXPECT_TRUE(after.actions.probe.empty());
  }
}

TEST(Cluster, AChangeIsStampedWithTheTimeAndTheReason) {
  Rules rules;
  rules.nodes = {{NodeId(0), "/tmp", 5432, 1}};
  const State s = step({}, Started{rules, std::nullopt, std::nullopt}, {}).state;
  const WallTime later{std::chrono::hours(5)};
  const ViewPtr v =
      view_of(step(s, ProbeResult{NodeId(0), Outcome::unreachable, {}, "connection refused"}, later).state);
  EXPECT_EQ(v->find(NodeId(0))->status_changed, later);
  EXPECT_EQ(v->find(NodeId(0))->status_reason, "connection refused");
}

TEST(Cluster, WhoCountsHearsWhyANodeWasTakenOutOfUse) {
  Rules rules;
  rules.nodes = {{.id = NodeId(0), .host = "/tmp", .port = 5432, .weight = 1, .health_checked = true},
                 {.id = NodeId(1), .host = "/tmp", .port = 5433, .weight = 1, .health_checked = true}};
  const State started = step({}, Started{rules, std::nullopt, std::nullopt}, {}).state;
  const State s = step(started, ProbeResult{.node = NodeId(0), .in_recovery = false}, {}).state;
  const auto cause_of = [&](const Event& event) {
    const Actions actions = step(s, event, {}).actions;
    return actions.lost.size() == 1 && actions.lost[0].node == NodeId(1)
               ? kCauses[static_cast<std::size_t>(actions.lost[0].cause)]
               : std::string_view("none");
  };
  EXPECT_EQ(cause_of(HealthChecked{NodeId(1), Outcome::unreachable, "x"}), "health_check");
  EXPECT_EQ(cause_of(HealthChecked{NodeId(1), Outcome::healthy, ""}), "none");
  EXPECT_EQ(cause_of(Requested{Request{.kind = Request::detach, .node = NodeId(1)}}), "request");
  EXPECT_EQ(cause_of(LeftBehind{NodeId(1), "x"}), "left_behind");

  const Stepped down = step(s, HealthChecked{NodeId(1), Outcome::unreachable, "x"}, {});
  EXPECT_TRUE(down.actions.returned.empty());
  const State after = step(down.state, CommandEnded{RunCommand::failover, NodeId(1)}, {}).state;
  EXPECT_EQ(step(after, Requested{Request{.kind = Request::attach, .node = NodeId(1)}}, {}).actions.returned,
            std::vector<NodeId>{NodeId(1)});
}

}  // namespace
}  // namespace herdgate::cluster
