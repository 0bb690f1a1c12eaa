// Units of the extended protocol whose links are lost, or held back, at an exact moment (test_session.h).
#include "session/test_session.h"

namespace herdgate::session {
namespace {

using std::chrono::seconds;

Bytes use(std::string_view name) {
  Bytes out;
  wire::put_bind(out, {"", name, ByteView("\0\0\0\0\0\0", 6)});
  wire::put_execute(out, "", 0);
  return out;
}

Bytes flush() {
  Bytes out;
  wire::put_empty(out, wire::fe::kFlush);
  return out;
}

// issue: a unit whose statement had been described ahead counted as open still when its link was lost and it ran once
// more: the other link was not brought up, and was taken from then on for having what it had not.
TEST_F(SessionTest, AReadThatRunsOnceMoreRunsUnderTheSettingsOfItsSession) {
  Client &reader = log_in(), &other = log_in();
  Heard before(*standby), at_primary(*primary);
  EXPECT_EQ(answer_unit(reader, named("p", "select 1") + sync()), "1 ZI ");
  EXPECT_EQ(answer(other, "set search_path = tenant"), "C ZI ");
  EXPECT_EQ(answer(other, "create table t (i int)"), "C ZI ");
  standby->drop_all();
  clock.ahead += seconds(2);  // idle links are looked at once a second
  until([&] { return worker->pool().links() == 1; });
  bool bound = false;
  std::string ahead;
  standby->script = [&, plays = ExtendedServer{}](const Bytes& message, Bytes& out) mutable {
    bound |= message[0] == wire::fe::kBind;
    if (!bound) ahead += message[0];
    return bound || plays(message, out);
  };
  at_primary.take();
  reader.send(use("p") + sync());
  until([&] { return bound; });
  EXPECT_EQ(ahead, "PDH");
  standby->drop_all();
  until([&] { return reader.closed || reader.heard.ends_with("ZI "); });
  EXPECT_EQ(reader.take(), "2 C ZI ");
  const std::string ran = at_primary.take();
  EXPECT_EQ(ran.find("Q:RESET \"search_path\""), 0u) << ran;
  Heard recovered(*standby);
  EXPECT_EQ(answer(other, "create table u (i int)"), "C ZI ");
  EXPECT_EQ(at_primary.take().find("Q:SET \"search_path\""), 0u);
}

// issue: the rest of a unit was held while the herd changed, and what was said instead of it came without a Sync that
// would have ended the unit at its server.
TEST_F(SessionTest, TheRestOfAUnitIsNotHeldBack) {
  Client& client = log_in();
  Heard at_primary(*primary);
  client.send(statement("insert into t values (1)") + flush());
  until([&] { return client.heard == "1 2 C "; });
  const auto changing = [this](bool changes) {
    auto changed = std::make_shared<Snapshot>(*snapshot());
    auto view = std::make_shared<cluster::View>(*changed->view);
    view->switching = view->primary_awaited = changed->restrains = changes;
    changed->view = std::move(view);
    return changed;
  };
  worker->take_snapshot(changing(true));
  at_primary.take();
  client.send(statement("insert into t values (2)") + sync());
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "1 2 C 1 2 C ZI ");
  EXPECT_EQ(at_primary.take(), "P: B E S");
  client.send(statement("insert into t values (3)") + sync());
  bool turned = false;
  worker->loop().post([&] { turned = true; });
  until([&] { return turned && worker->find(session_of(client))->row().status == "Waiting for primary"; });
  worker->take_snapshot(changing(false));
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "1 2 C ZI ");
}

// issue: what notice_per_node_statement says of the next part of a unit came between the pieces of a long row.
TEST_F(SessionTest, NoNoticeComesAmidALongRow) {
  Client& client = log_in();
  EXPECT_EQ(answer(client, "pgpool set notice_per_node_statement to on"), "C ZI ");
  const std::string long_one(3000, 'x');
  bool executed = false;
  Heard at_primary(*primary);
  primary->script = [&](const Bytes& message, Bytes& out) {
    if (message[0] != wire::fe::kExecute) return at_primary.plays(message, out);
    executed = true;
    return true;
  };
  client.send(statement("select 1") + flush());
  until([&] { return executed; });
  const Bytes whole = row(long_one);
  primary->say(whole.substr(0, 2000));
  until([&] { return client.in.size() == 2000; });
  EXPECT_EQ(client.take(), "N N N 1 2 ");
  bool parsed = false;
  primary->script = [&](const Bytes& message, Bytes& out) {
    parsed |= message[0] == wire::fe::kParse;
    return message[0] != wire::fe::kSync && message[0] != wire::fe::kQuery ? true : at_primary.plays(message, out);
  };
  client.send(statement("select 2") + flush());
  until([&] { return parsed; });
  EXPECT_EQ(client.in.size(), 2000u);
  Bytes rest = whole.substr(2000);
  wire::put_command_complete(rest, "SELECT 1");
  wire::put_parse_complete(rest);
  wire::put_bind_complete(rest);
  wire::put_command_complete(rest, "SELECT 0");
  primary->say(rest);
  const std::string wanted = "D" + long_one + " C 1 2 C N N N ";
  until([&] { return client.closed || client.heard.size() >= wanted.size(); });
  EXPECT_EQ(client.take(), wanted);
  EXPECT_EQ(answer_unit(client, sync()), "ZI ");
}

// issue: each Bind and Execute of a long statement brought its whole text, and all of a unit's before any of it went
// out.
TEST_F(SessionTest, NoticesOfALongStatementAreShortWhereManyWait) {
  constexpr int kTimes = 500;
  Client& client = log_in();
  EXPECT_EQ(answer(client, "pgpool set notice_per_node_statement to on"), "C ZI ");
  Heard at_primary(*primary), at_standby(*standby);
  const std::string long_one = "select 1 /*" + std::string(50'000, 'x') + "*/";
  EXPECT_EQ(answer_unit(client, named("p", long_one) + sync()), "N 1 ZI ");
  EXPECT_GT(client.octets, long_one.size()) << "one is told as it is";
  const std::size_t before = client.octets;
  Bytes unit;
  std::string wanted;
  for (int i = 0; i < kTimes; ++i) unit += use("p");
  const std::string told = answer_unit(client, unit + sync());
  EXPECT_EQ(std::count(told.begin(), told.end(), 'N'), 2 * kTimes);
  EXPECT_EQ(std::count(told.begin(), told.end(), 'C'), kTimes);
  EXPECT_LT(client.octets - before, 10 * long_one.size());
}

// issue: where it was cut there could be half of a character.
TEST_F(SessionTest, AShortNoticeEndsWithAWholeCharacter) {
  constexpr int kTimes = 500;
  const std::string high = "\xE6\x97\xA5", in_sjis = "\x83\x5C";
  for (const auto& [encoding, character, wanted] : {std::tuple{"UTF8", high, "/*"},
                                                    {"SJIS", in_sjis, "/*"},
                                                    {"UTF8", high + " ", "\xA5 "},
                                                    {"LATIN1", std::string("x"), "x"}}) {
    Heard at_primary(*primary), at_standby(*standby);
    Client& client = log_in();
    EXPECT_EQ(answer(client, "pgpool set notice_per_node_statement to on"), "C ZI ");
    EXPECT_EQ(answer(client, fmt::format("set client_encoding to '{}'", encoding)), "N C ZI ");
    std::string text = "select 1 /*";
    while (text.size() < 1000) text += character;
    answer_unit(client, named("p", text + "*/") + sync());
    Bytes unit;
    for (int i = 0; i < kTimes; ++i) wire::put_bind(unit, {"", "p", ByteView("\0\0\0\0\0\0", 6)});
    EXPECT_TRUE(answer_unit(client, unit + use("p") + sync()).ends_with("C ZI "));
    EXPECT_LT(client.notice.size(), 300u) << "it was cut";
    EXPECT_TRUE(client.notice.ends_with(wanted)) << encoding << ' ' << client.notice;
  }
}

// issue: behind the end of a failed transaction a read was asked about on the very link that had failed.
TEST_F(SessionTest, AFailedTransactionIsAskedNothing) {
  Client& client = log_in();
  char status = 'T';
  primary->script = [&](const Bytes& message, Bytes& out) {
    if (message.find("lock") != Bytes::npos) {
      out += error_of("42P01");
      status = 'E';
    } else {
      wire::put_command_complete(out, "OK");
    }
    wire::put_ready(out, status);
    return true;
  };
  client.query("begin");
  client.query("lock table u");
  until([&] { return client.heard == "C ZT E42P01 ZE "; });
  client.take();
  primary->queries.clear();
  Heard at_primary(*primary);
  EXPECT_EQ(answer_unit(client, statement("rollback") + statement("select * from t") + sync()), "1 2 C 1 2 C ZI ");
  EXPECT_EQ(at_primary.take(), "P: B E P: B E S");
  EXPECT_EQ(answer(client, "select * from t"), "C ZI ");
  EXPECT_TRUE(at_primary.take().starts_with("Q:WITH")) << "it is asked about when a server answers";
}

// Whatever the request is, it fails by itself and the next one is served.
TEST_F(SessionTest, WhereNoNodeIsUpARequestFails) {
  Client& client = log_in();
  auto none = std::make_shared<Snapshot>(*snapshot());
  auto view = std::make_shared<cluster::View>(*none->view);
  for (cluster::Node& node : view->nodes) node.status = cluster::NodeStatus::down;
  view->primary = kNoNode;
  none->view = std::move(view);
  worker->take_snapshot(none);
  EXPECT_EQ(answer(client, "select 1"), "E08006 ZI ");
  EXPECT_EQ(answer_unit(client, statement("select 1") + sync()), "E08006 ZI ");
  worker->take_snapshot(snapshot());
  Heard at_primary(*primary), at_standby(*standby);
  EXPECT_EQ(answer(client, "select 1"), "C ZI ");
  EXPECT_EQ(answer_unit(client, statement("select 1") + sync()), "1 2 C ZI ");
}

}  // namespace
}  // namespace herdgate::session
