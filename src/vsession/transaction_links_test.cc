// The cases of ARCHITECTURE.md, "Transactions over more than one link", and random transactions over two servers that
// must look as they would on one.
#include "vsession/transaction_links.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "sql/facts.h"

namespace herdgate::vsession {
namespace {

using Links = TransactionLinks;
using Ahead = Links::Ahead;
using Tells = Links::Tells;
using Leaves = Links::Leaves;
constexpr NodeId kPrimary{0}, kStandby{1};

ParameterSetPtr set_of(const char* value) {
  return std::make_shared<ParameterSet>(std::vector<Parameter>{{"a.x", "", value}});
}

Transaction session(TxStatus status) {
  Transaction tx;
  tx.status = status;
  tx.explicit_block = status != TxStatus::idle;
  return tx;
}

std::string text(const Links::Ends& ends) {
  std::string out;
  for (const Links::End& end : ends)
    out += fmt::format("{}{}:{}:{}", out.empty() ? "" : " ", end.node.value, end.commit ? "COMMIT" : "ROLLBACK",
                       end.leaves ? end.leaves->all().front().value : "-");
  return out;
}

class TwoLinks : public testing::Test {
 protected:
  void SetUp() override {
    links.joined(kStandby, set_of("before"), set_of("after"));
    links.joined(kPrimary, set_of("before"), set_of("after"));
  }
  Links links;
};

TEST(TransactionLinks, WhatGoesAheadOfAStatement) {
  Links links;
  EXPECT_EQ(links.before(kPrimary, session(TxStatus::idle)), Ahead::nothing);
  EXPECT_EQ(links.before(kPrimary, session(TxStatus::open)), Ahead::begin);
  EXPECT_EQ(links.before(kPrimary, session(TxStatus::failed)), Ahead::begin_and_fail);
  Transaction implicit = session(TxStatus::open);
  implicit.explicit_block = false;
  EXPECT_EQ(links.before(kPrimary, implicit), Ahead::nothing);
  links.joined(kPrimary, set_of("before"), set_of("after"));
  EXPECT_EQ(links.before(kPrimary, session(TxStatus::open)), Ahead::nothing);
  EXPECT_EQ(links.before(kPrimary, session(TxStatus::failed)), Ahead::fail);
  links.failed(kPrimary);
  EXPECT_EQ(links.before(kPrimary, session(TxStatus::failed)), Ahead::nothing);
}

TEST_F(TwoLinks, TheEndGoesToThePrimary) {
  EXPECT_EQ(links.carrier(kPrimary), kPrimary);
  EXPECT_EQ(links.carrier(NodeId{2}), kStandby);  // it reads only, or another one is the primary by now
  EXPECT_EQ(text(links.leave(kPrimary)), "0:ROLLBACK:before");
  EXPECT_EQ(links.carrier(kPrimary), kStandby);
  links.leave(kStandby);
  EXPECT_EQ(links.carrier(kPrimary), kNoNode);
}

TEST_F(TwoLinks, TheOthersEndAsTheOneThatCarriedTheEnd) {
  EXPECT_EQ(text(links.answered(kPrimary, TxStatus::open, true, nullptr)), "");
  EXPECT_EQ(text(links.answered(kPrimary, TxStatus::idle, true, nullptr)), "1:COMMIT:after");
  EXPECT_TRUE(links.empty());
}

TEST_F(TwoLinks, ARollbackTakesParametersBack) {
  EXPECT_EQ(text(links.answered(kPrimary, TxStatus::idle, false, nullptr)), "1:ROLLBACK:before");
}

TEST_F(TwoLinks, ACommitThatIsARollbackThereTakesParametersBack) {
  links.failed(kStandby);
  EXPECT_EQ(text(links.answered(kPrimary, TxStatus::idle, true, nullptr)), "1:COMMIT:before");
}

TEST_F(TwoLinks, ATransactionOpenedInAWayWeDidNotSee) {
  Links fresh;
  EXPECT_EQ(text(fresh.answered(kPrimary, TxStatus::open, true, set_of("then"))), "");
  fresh.will_leave(kPrimary, set_of("later"));
  EXPECT_EQ(text(fresh.end_all(true)), "0:COMMIT:later");
}

TEST_F(TwoLinks, ChainedTransactionIsAloneAtFirst) {
  links.bind_portal("p", nullptr, kStandby);
  EXPECT_EQ(text(links.chained(kPrimary, true, set_of("next"))), "1:COMMIT:after");
  EXPECT_EQ(links.portal("p"), nullptr);
  EXPECT_EQ(text(links.end_all(false)), "0:ROLLBACK:next");
}

// issue: a standby's part of a transaction that a unit had ended was taken for one of that which it began.
TEST_F(TwoLinks, ATransactionBegunBehindTheEndOfOneIsAloneAtFirst) {
  links.failed(kStandby);
  links.bind_portal("p", nullptr, kPrimary);
  EXPECT_EQ(text(links.ended(kPrimary, false, set_of("next"))), "1:ROLLBACK:before");
  EXPECT_EQ(links.before(kStandby, session(TxStatus::open)), Ahead::begin);
  EXPECT_NE(links.portal("p"), nullptr) << "the unit may have bound it behind the end";
  EXPECT_EQ(text(links.answered(kPrimary, TxStatus::open, false, set_of("old"))), "");
  EXPECT_EQ(text(links.end_all(false)), "0:ROLLBACK:next");
  EXPECT_EQ(text(links.ended(kPrimary, true, set_of("then"))), "");
  EXPECT_TRUE(links.empty()) << "what has begun and ended in one unit";
}

TEST_F(TwoLinks, RollbackToDropsTheReader) {
  links.failed(kStandby);
  links.bind_portal("p", nullptr, kStandby);
  EXPECT_EQ(text(links.rolled_back_to(kPrimary)), "1:ROLLBACK:before");
  EXPECT_EQ(links.before(kStandby, session(TxStatus::open)), Ahead::begin);
  EXPECT_EQ(links.portal("p"), nullptr);
}

TEST_F(TwoLinks, RollbackToHealsWhereItWasRun) {
  links.failed(kPrimary);
  links.rolled_back_to(kPrimary);
  EXPECT_EQ(links.part(kPrimary)->server, TxStatus::open);
}

TEST_F(TwoLinks, RollbackToKeepsTheReaderOfAPortal) {
  links.bind_portal("p", nullptr, kStandby);
  EXPECT_EQ(text(links.rolled_back_to(kPrimary)), "");
  EXPECT_NE(links.portal("p"), nullptr);
}

TEST_F(TwoLinks, AWriteEndsTheReader) {
  EXPECT_EQ(text(links.writes_at(kPrimary)), "1:COMMIT:after");
  EXPECT_EQ(text(links.writes_at(kPrimary)), "");
  EXPECT_EQ(links.before(kStandby, session(TxStatus::open)), Ahead::begin);
}

TEST_F(TwoLinks, AWriteLeavesWhatHasFailedAlone) {
  links.failed(kStandby);
  EXPECT_EQ(text(links.writes_at(kPrimary)), "");
}

TEST_F(TwoLinks, AWriteKeepsTheReaderOfAPortal) {
  links.bind_portal("p", nullptr, kStandby);
  EXPECT_EQ(text(links.writes_at(kPrimary)), "");
  EXPECT_NE(links.portal("p"), nullptr);
}

TEST_F(TwoLinks, PortalsLiveAndDieWithTheirLink) {
  links.bind_portal("", nullptr, kPrimary);
  links.bind_portal("p", nullptr, kStandby);
  links.bind_portal("q", nullptr, kPrimary);
  EXPECT_EQ(links.portal("")->node, kPrimary);
  EXPECT_EQ(links.portal("p")->node, kStandby);
  EXPECT_EQ(links.portal("r"), nullptr);
  links.leave(kStandby);
  EXPECT_EQ(links.portal("p"), nullptr);
  EXPECT_TRUE(links.has_named_portals());
  links.close_portal("q");
  links.close_portal("q");
  EXPECT_FALSE(links.has_named_portals());
  links.bind_portal("", nullptr, kStandby);  // bound anew elsewhere
  links.leave(kPrimary);
  EXPECT_EQ(links.portal("")->node, kStandby);
  links.forget_portals();
  EXPECT_EQ(links.portal(""), nullptr);
}

TEST(TransactionLinks, PortalsAreBounded) {
  Links links;
  for (std::size_t i = 0; i <= Links::kMaxPortals; ++i) links.bind_portal(std::to_string(i), nullptr, kPrimary);
  EXPECT_NE(links.portal("0"), nullptr);
  EXPECT_EQ(links.portal(std::to_string(Links::kMaxPortals)), nullptr);
}

struct LossCase {
  const char* name;
  NodeId node;
  TxStatus status;  // of the client's transaction; idle: no link takes part
  Links::Under under;
  Tells tells;
  Leaves leaves;
  const char* ends;
};

const NodeId kOther{2};
const LossCase kLosses[] = {
    {"not of the transaction", kOther, TxStatus::open, {}, Tells::nothing, Leaves::as_it_is, ""},
    {"idle in it", kPrimary, TxStatus::open, {}, Tells::later, Leaves::failed, "1:ROLLBACK:before"},
    {"idle in it, the reader", kStandby, TxStatus::open, {}, Tells::later, Leaves::failed, "0:ROLLBACK:before"},
    {"failed already: the client knows",
     kPrimary,
     TxStatus::failed,
     {},
     Tells::nothing,
     Leaves::failed,
     "1:ROLLBACK:before"},
    {"the reader, while the primary answers",
     kStandby,
     TxStatus::open,
     {.elsewhere = true, .may_commit = true},
     Tells::later,
     Leaves::as_it_is,
     ""},
    {"the reader of a failed one, while the primary answers",
     kStandby,
     TxStatus::failed,
     {.elsewhere = true, .may_commit = true},
     Tells::nothing,
     Leaves::as_it_is,
     ""},
    {"under a statement",
     kPrimary,
     TxStatus::open,
     {.carried = true, .writes = true},
     Tells::rolled_back,
     Leaves::failed,
     "1:ROLLBACK:before"},
    {"under a read that could run again outside",
     kStandby,
     TxStatus::open,
     {.carried = true, .runs_again = true},
     Tells::rolled_back,
     Leaves::failed,
     "0:ROLLBACK:before"},
    {"under COMMIT",
     kPrimary,
     TxStatus::open,
     {.carried = true, .may_commit = true, .only_ends = true},
     Tells::unknown,
     Leaves::idle,
     "1:ROLLBACK:before"},
    {"under a text with COMMIT in it",
     kPrimary,
     TxStatus::open,
     {.carried = true, .may_commit = true, .writes = true},
     Tells::unknown,
     Leaves::idle,
     "1:ROLLBACK:before"},
    {"under a text with ROLLBACK ahead of a write",
     kPrimary,
     TxStatus::open,
     {.carried = true, .goes_on = true, .writes = true},
     Tells::unknown,
     Leaves::idle,
     "1:ROLLBACK:before"},
    {"under a text with ROLLBACK ahead of a read",
     kPrimary,
     TxStatus::open,
     {.carried = true, .goes_on = true},
     Tells::run_it_again,
     Leaves::idle,
     "1:ROLLBACK:before"},
    {"under a text that ends a failed one and writes",
     kPrimary,
     TxStatus::failed,
     {.carried = true, .may_commit = true, .goes_on = true, .writes = true},
     Tells::unknown,
     Leaves::idle,
     "1:ROLLBACK:before"},
    {"under COMMIT of a failed one",
     kPrimary,
     TxStatus::failed,
     {.carried = true, .may_commit = true, .only_ends = true},
     Tells::rolled_back,
     Leaves::idle,
     "1:ROLLBACK:before"},
    {"under ROLLBACK",
     kPrimary,
     TxStatus::open,
     {.carried = true, .only_ends = true},
     Tells::rolled_back,
     Leaves::idle,
     "1:ROLLBACK:before"},
    {"autocommit read", kPrimary, TxStatus::idle, {.carried = true}, Tells::run_it_again, Leaves::idle, ""},
    {"autocommit read, nothing told yet",
     kStandby,
     TxStatus::idle,
     {.carried = true, .runs_again = true},
     Tells::once_more,
     Leaves::as_it_is,
     ""},
    {"autocommit write", kPrimary, TxStatus::idle, {.carried = true, .writes = true}, Tells::unknown, Leaves::idle, ""},
    {"COMMIT PREPARED",
     kPrimary,
     TxStatus::idle,
     {.carried = true, .may_commit = true},
     Tells::unknown,
     Leaves::idle,
     ""},
};

TEST(TransactionLinks, Losses) {
  for (const LossCase& c : kLosses) {
    Links links;
    if (c.status != TxStatus::idle) {
      links.joined(kStandby, set_of("before"), set_of("after"));
      links.joined(kPrimary, set_of("before"), set_of("after"));
    }
    links.bind_portal("p", nullptr, c.node);
    const Links::Loss loss = links.lost(c.node, session(c.status), c.under);
    EXPECT_EQ(loss.tells, c.tells) << c.name;
    EXPECT_EQ(loss.session, c.leaves) << c.name;
    EXPECT_EQ(text(loss.ends), c.ends) << c.name;
    EXPECT_EQ(links.part(c.node), nullptr) << c.name;
    EXPECT_EQ(links.portal("p"), nullptr) << c.name;
  }
}

// What one server does with transactions. Statements: begin, commit, rollback (and chain), savepoint s, rollback to s,
// insert, read, bad, open p, fetch p.
struct Server {
  TxStatus status = TxStatus::idle;
  int committed = 0, rows = 0;
  struct Save {
    std::string name;
    int rows;
    std::set<std::string> portals;
  };
  std::vector<Save> saves;
  std::set<std::string> portals;

  std::string fail(const char* code) {
    if (status == TxStatus::open) status = TxStatus::failed;
    return code;
  }
  std::string run(const std::string& sql) {
    const std::string word = sql.substr(0, sql.find(' ')), name = sql.substr(sql.find(' ') + 1);
    if (sql == "begin") {
      status = TxStatus::open;
      return "BEGIN";
    }
    if (word == "commit" || (word == "rollback" && !name.starts_with("to "))) return end(word == "commit", sql);
    if (word == "rollback") return back_to(name.substr(3));
    if (status == TxStatus::failed) return "25P02";
    if (word == "bad") return fail("22012");
    if (word == "savepoint") saves.push_back({name, rows, portals});
    if (word == "open") portals.insert(name);
    if (word == "fetch" && !portals.contains(name)) return fail("34000");
    if (word == "insert") ++(status == TxStatus::idle ? committed : rows);
    return word;
  }
  std::string end(bool commit, const std::string& sql) {
    const bool commits = commit && status != TxStatus::failed;
    if (commits) committed += rows;
    const bool chain = sql.ends_with("and chain") && status != TxStatus::idle;
    *this = Server{chain ? TxStatus::open : TxStatus::idle, committed, 0, {}, {}};
    return commits ? "COMMIT" : "ROLLBACK";
  }
  void forget_portals() {
    portals.clear();
    for (Save& save : saves) save.portals.clear();
  }
  std::string back_to(const std::string& name) {
    const auto found = std::find_if(saves.rbegin(), saves.rend(), [&](const Save& s) { return s.name == name; });
    if (found == saves.rend()) return fail("3B001");
    saves.erase(found.base(), saves.end());
    rows = saves.back().rows;
    portals = saves.back().portals;
    status = TxStatus::open;
    return "ROLLBACK";
  }
};

// A session over a primary and a standby, driven as src/session drives it; beside it the one server of which the client
// believes it to be.
class Herd {
 public:
  Server one, servers[2];
  int portals_lost = 0;  // times that those of the standby could not be kept, as ARCHITECTURE.md says

  TxStatus status() const { return vs_.state().tx.status; }
  bool wrote() const { return vs_.state().tx.wrote; }
  bool idle_everywhere() const {
    return servers[0].status == TxStatus::idle && servers[1].status == TxStatus::idle && links_.empty();
  }

  std::string ask(const std::string& sql) {
    const NodeId node = place(sql);
    if (node == kNoNode) return locally(sql);
    Server& server = servers[node.value];
    const Ahead ahead = links_.before(node, vs_.state().tx);
    if (ahead == Ahead::begin || ahead == Ahead::begin_and_fail) {
      EXPECT_EQ(server.status, TxStatus::idle);
      server.run("begin");
      links_.joined(node, vs_.base_parameters(), vs_.session_parameters());
    }
    if (ahead == Ahead::fail || ahead == Ahead::begin_and_fail) {
      server.run("rollback to hg_failed");
      links_.failed(node);
    }
    if (sql == "insert") obey(links_.writes_at(node));
    const std::string tag = server.run(sql);
    if (sql.starts_with("open") && tag == "open") links_.bind_portal(sql.substr(5), nullptr, node);
    note(sql, tag, node);
    vs_.ready(server.status);
    obey(links_.answered(node, server.status, tag == "COMMIT", vs_.base_parameters()));
    return tag;
  }

  // The link ends while nothing runs. True: it concerns the transaction, and the client hears of it.
  bool lose(NodeId node) {
    servers[node.value].run("rollback");
    const Links::Loss loss = links_.lost(node, vs_.state().tx, {});
    if (loss.session != Leaves::as_it_is) vs_.transaction_lost(loss.session == Leaves::failed);
    obey(loss.ends);
    return loss.session == Leaves::failed;
  }

 private:
  NodeId place(const std::string& sql) {
    const bool ends = sql.starts_with("commit") || sql == "rollback" || sql == "rollback and chain";
    if (ends) return links_.carrier(kPrimary);
    if (sql == "begin") return kNoNode;
    if (sql.starts_with("fetch")) {
      const Portal* portal = links_.portal(sql.substr(6));
      return portal == nullptr ? kPrimary : portal->node;
    }
    const bool reads = sql == "read" || sql.starts_with("bad") || sql.starts_with("open");
    return reads && !(wrote() && sql != "bad on the standby") ? kStandby : kPrimary;
  }
  std::string locally(const std::string& sql) {
    const bool commits = sql.starts_with("commit") && status() != TxStatus::failed;
    const std::string tag = sql == "begin" ? "BEGIN" : commits ? "COMMIT" : "ROLLBACK";
    note(sql, tag, kNoNode);
    vs_.ready(sql == "begin" || sql.ends_with("chain") ? TxStatus::open : TxStatus::idle);
    return tag;
  }
  void note(const std::string& sql, const std::string& tag, NodeId node) {
    const bool ok = !std::isdigit(static_cast<unsigned char>(tag[0]));
    const bool control = sql.starts_with("begin") || sql.starts_with("commit") || sql.starts_with("rollback") ||
                         sql.starts_with("savepoint");
    const bool write = sql == "insert";
    const sql::Facts facts = sql::parse_facts(control ? sql : write ? "insert into t values (1)" : "select 1", {});
    vs_.statement_done({facts.first(), sql, tag, ok, write});
    if (!ok || node == kNoNode) return;
    if (sql.ends_with("and chain")) obey(links_.chained(node, tag == "COMMIT", vs_.base_parameters()));
    if (!sql.starts_with("rollback to")) return;
    const bool reader_failed = servers[kStandby.value].status == TxStatus::failed;
    obey(links_.rolled_back_to(node));
    if (reader_failed) ++portals_lost;
  }
  void obey(const Links::Ends& ends) {
    for (const Links::End& end : ends) servers[end.node.value].run(end.commit ? "commit" : "rollback");
  }
  VirtualSession vs_{HashKey{1, 2}};
  Links links_;
};

std::string next_statement(std::mt19937& random, const Herd& herd) {
  const std::string name(1, "st"[random() % 2]);
  if (herd.status() == TxStatus::idle) return random() % 4 == 0 ? "insert" : "begin";
  switch (random() % 15) {
    case 0:
    case 1:
      return "insert";
    case 2:
      return "bad";
    case 3:
      return "bad on the standby";  // as with disable_load_balance_on_write = off
    case 4:
    case 5:
      return "savepoint " + name;
    case 6:
    case 7:
      return "rollback to " + name;
    case 8:
      return random() % 2 == 0 ? "commit" : "rollback";
    case 9:
      return random() % 2 == 0 ? "commit and chain" : "rollback and chain";
    case 10:
      return herd.one.portals.contains(name) ? "read" : "open " + name;
    case 11:
    case 12:
      return herd.one.portals.contains(name) ? "fetch " + name : "read";
    default:
      return "read";
  }
}

TEST(TransactionLinks, TwoServersLookLikeOne) {
  std::mt19937 random(23);
  for (int round = 0; round < 2000; ++round) {
    Herd herd;
    std::string history;
    for (int i = 0; i < 40; ++i) {
      if (random() % 25 == 0) {
        const NodeId node = random() % 2 == 0 ? kPrimary : kStandby;
        history += fmt::format("lose {}\n", node.value);
        if (herd.lose(node)) {
          herd.one.end(false, "");
          herd.one.status = TxStatus::failed;
        }
      } else {
        const std::string sql = next_statement(random, herd);
        history += sql + "\n";
        const int lost = herd.portals_lost;
        ASSERT_EQ(herd.ask(sql), herd.one.run(sql)) << history;
        if (herd.portals_lost != lost) herd.one.forget_portals();
      }
      ASSERT_EQ(herd.status(), herd.one.status) << history;
      ASSERT_EQ(herd.servers[0].committed, herd.one.committed) << history;
      ASSERT_EQ(herd.servers[1].committed, 0) << history;
      if (herd.status() == TxStatus::idle) {
        ASSERT_TRUE(herd.idle_everywhere()) << history;
      }
    }
  }
}

}  // namespace
}  // namespace herdgate::vsession
