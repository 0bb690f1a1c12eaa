// A link whose server is the test, at the other end of a socket pair.
#include "backend/link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/test_kernel.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::backend {
namespace {

// Writes down what it is told, in one line.
struct Recorder final : LinkUser {
  void on_rows(Link&, const Debt& head, ByteView bytes, bool) override {
    said += fmt::format("rows({}:{}) ", head.note, bytes.size());
    rows.append(bytes);
  }
  void on_reply(Link&, const Debt& head, const Message& message, bool done) override {
    said += fmt::format("{}{}({}{}) ", message.type, message.cut ? "~" : "", head.note, done ? "!" : "");
  }
  bool takes_answers(const Debt& head) const override { return head.note == answers_of; }
  void on_answer(Link&, const Answer& answer) override {
    said += fmt::format("answer({}:{}", answer.messages, answer.heads.size());
    if (!answer.rows.empty()) said += fmt::format(" rows:{}", answer.rows.size());
    if (!answer.complete.empty()) said += fmt::format(" done {}", answer.done.item);
    if (!answer.ready.empty()) said += fmt::format(" ready {}", answer.ended.item);
    said += ") ";
    rows.append(answer.bytes()).append(answer.ready);
  }
  int answers_of = -1;  // they are taken in one step for entries with this note
  void on_ended(Link&, const Debt& debt, Ended how) override {
    said += fmt::format("end({}{}) ", debt.note, how == Ended::ok ? "" : how == Ended::failed ? " failed" : " skipped");
  }
  void on_async(Link&, const Debt* head, const Message& message) override {
    said += fmt::format("async {}({}) ", message.type, head == nullptr ? -1 : head->note);
  }
  void on_chunk_end(Link&) override {}
  void on_drained(Link&) override {}
  void on_lost(Link&, const Error& why) override { said += "lost: " + why.text() + " "; }
  std::string said;
  Bytes rows;
};

struct LinkTest : ::testing::Test {
  SystemClock clock;
  net::Loop loop{clock};
  Scratch scratch;
  Recorder user;
  std::unique_ptr<Link> link;
  net::Socket server;

  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    server = net::Socket(ends[0]);
    link = std::make_unique<Link>(LinkId(1), LinkKey{NodeId(0), "db", "ann"}, Greeting{});
    ASSERT_TRUE(link->attach(loop, scratch, net::Socket(ends[1])));
    link->set_user(&user);
  }
  // The server says this, and the link has dealt with it.
  void say(ByteView bytes) {
    while (!bytes.empty()) {
      const net::Io io = server.write(loop, bytes);
      bytes.remove_prefix(io.bytes);
      turn();
    }
    turn();
  }
  void turn() {
    int turns = 0;
    std::function<void()> again = [&] {
      if (++turns < 4) return loop.post([&] { again(); });
      loop.stop();
    };
    loop.post([&] { again(); });
    loop.run();
  }
  Bytes heard() {
    char chunk[65536];
    const net::Io io = server.read(loop, chunk);
    return Bytes(chunk, io.state == net::Io::ok ? io.bytes : 0);
  }
};

Bytes message(char type, ByteView payload = {}) {
  Bytes out;
  wire::put_message(out, type, payload);
  return out;
}
Bytes ready(char status = 'I') { return message('Z', ByteView(&status, 1)); }
Bytes done() { return message('C', ByteView("OK\0", 3)); }
Bytes failure(std::string text = "no") {
  Bytes out;
  wire::Report report;
  report.message = std::move(text);
  wire::put_error(out, report);
  return out;
}

TEST_F(LinkTest, RepliesGoToTheirEntriesInOrder) {
  link->send_query("set a to b", Fate::swallow, 7);
  link->send_query("select 1", Fate::forward, 8);
  EXPECT_FALSE(link->clean());
  link->flush();
  EXPECT_EQ(heard(), message('Q', ByteView("set a to b\0", 11)) + message('Q', ByteView("select 1\0", 9)));
  say(done() + ready() + message('T') + message('D', "xy") + message('D', "z"));
  EXPECT_EQ(user.said, "C(7) Z(7!) end(7) T(8) rows(8:13) ");
  say(done() + ready());
  EXPECT_EQ(user.said.substr(34), "C(8) Z(8!) end(8) ");
  EXPECT_TRUE(link->clean());
}

struct Answers : LinkTest {
  Answers() { user.answers_of = 7; }
  void owe_unit(std::uint16_t note, std::uint16_t item = 0) {
    link->send(message('B'), Owes::bind, Fate::forward, note);
    link->send(message('D'), Owes::describe, Fate::forward, note);
    link->send(message('E'), Owes::execute, Fate::forward, note, item);
  }
};

TEST_F(Answers, AreGivenInOnePieceToWhoWantsThemSo) {
  for (const std::uint16_t note : {7, 7, 8}) owe_unit(note, note);
  link->send_sync(Fate::forward, 7);
  link->flush();
  const Bytes first = message('2') + message('T', "ab") + message('D', "x") + message('D', "yz") + done();
  const Bytes second = message('2') + message('n') + done();
  say(first + second);
  EXPECT_EQ(user.said, "answer(2:12 rows:13 done 7) answer(2:10 done 7) ");
  EXPECT_EQ(user.rows, first + second);
  user.said.clear();
  say(message('2') + message('n') + done() + ready('T'));
  EXPECT_EQ(user.said, "2(8!) end(8) n(8!) end(8) C(8!) end(8) answer(0:0 ready 0) ") << "one entry is another's";
  EXPECT_EQ(link->status(), 'T');
  EXPECT_EQ(user.rows, first + second + ready('T'));
}

TEST_F(Answers, OfAUnitEndWithItsReadyForQuery) {
  owe_unit(7, 3);
  link->send_sync(Fate::forward, 7);
  link->send_query("select 1; select 2", Fate::forward, 7, 4);
  link->flush();
  say(message('2') + message('n') + done() + ready() + message('T') + message('D') + done() + message('T') + done() +
      ready());
  EXPECT_EQ(user.said, "answer(2:10 done 3 ready 0) answer(1:5 rows:5 done 4) answer(1:5 done 4 ready 4) ");
  EXPECT_TRUE(link->clean());
}

TEST_F(Answers, StopWhereTheLedgerOrTheChunkDoes) {
  link->send(message('B'), Owes::bind, Fate::forward, 7);
  link->owe_local(ByteView("local"), 9);
  link->send(message('B'), Owes::bind, Fate::swallow, 7);  // ours: nobody's bytes
  owe_unit(7);
  link->send_sync(Fate::forward, 7);
  link->flush();
  say(message('2') + message('2') + message('2') + message('T', "abc").substr(0, 7));
  EXPECT_EQ(user.said, "answer(1:5) end(9) 2(7!) end(7) answer(1:5) ");
  user.said.clear();
  say(message('T', "abc").substr(7) + message('D', "row") + message('D', "another").substr(0, 6));
  EXPECT_EQ(user.said, "T(7!) end(7) answer(0:0 rows:8) rows(7:6) ") << "beginnings lay in earlier chunks";
  user.said.clear();
  say(message('D', "another").substr(6) + done() + ready());
  EXPECT_EQ(user.said, "rows(7:6) answer(0:0 done 0 ready 0) ");
  EXPECT_TRUE(link->clean());
}

TEST_F(Answers, LeaveWhatIsNotPlain) {
  link->send_query("copy t from stdin", Fate::forward, 7);
  link->flush();
  say(message('G', "xyz"));
  EXPECT_EQ(user.said, "G(7) ");
  EXPECT_TRUE(link->ledger().in_copy_in());
  say(done() + ready());
  EXPECT_EQ(user.said, "G(7) answer(0:0 done 0 ready 0) ");
  EXPECT_FALSE(link->ledger().in_copy_in());
  user.said.clear();
  owe_unit(7);
  link->send_sync(Fate::forward, 7);
  link->flush();
  say(message('2') + message('N', ByteView("SNOTICE\0Mhi\0\0", 14)) + message('T') + message('D') + message('s') +
      ready());
  EXPECT_EQ(user.said, "answer(1:5) async N(7) answer(1:5 rows:5) s(7!) end(7) answer(0:0 ready 0) ");
}

TEST_F(Answers, WhatAServerMayNotSayEndsTheLink) {
  for (const Bytes& wrong : {message('n'), message('D'), message('2') + message('D'), message('2') + ready('X'),
                             message('2') + message('Z', "II"), message('2') + ready() + ready()}) {
    user.said.clear();
    SetUp();
    link->send(message('B'), Owes::bind, Fate::forward, 7);
    link->send_sync(Fate::forward, 7);
    link->flush();
    say(wrong);
    EXPECT_NE(user.said.find("lost: "), std::string::npos) << wrong;
  }
}

TEST_F(Answers, AnErrorBehindThemSkipsTheRest) {
  owe_unit(7);
  owe_unit(7);
  link->send_sync(Fate::forward, 7);
  link->flush();
  say(message('2') + message('T') + failure() + ready());
  EXPECT_EQ(user.said,
            "answer(2:10) E(7!) end(7 failed) end(7 skipped) end(7 skipped) end(7 skipped) answer(0:0 ready 0) ");
}

TEST_F(Answers, OfAQueryThatFailedAreNotPlain) {
  link->send_query("select 1; select 1/0", Fate::forward, 7);
  link->flush();
  say(message('T') + message('D') + done() + failure() + ready('I'));
  EXPECT_EQ(user.said, "answer(1:5 rows:5 done 0) E(7) Z(7!) end(7 failed) ");
}

TEST_F(LinkTest, WhatNobodyIsOwedEndsTheLinkOnce) {
  say(done());
  EXPECT_NE(user.said.find("lost: "), std::string::npos);
  EXPECT_TRUE(link->lost());
  EXPECT_FALSE(link->clean());
}

TEST_F(LinkTest, AnErrorNobodyIsOwedSaysWhyTheServerLeaves) {
  say(failure("terminating connection due to administrator command"));
  EXPECT_NE(user.said.find("terminating connection"), std::string::npos) << user.said;
}

TEST_F(LinkTest, AReplyOfOurOwnWaitsForItsTurn) {
  link->send(message('E'), Owes::execute, Fate::forward, 1);
  link->owe_local("mine", 2);
  link->send_sync(Fate::forward, 3);
  link->flush();
  EXPECT_EQ(user.said, "");
  say(done());
  EXPECT_EQ(user.said, "C(1!) end(1) end(2) ");
  say(ready());
  EXPECT_TRUE(link->clean());
}

TEST_F(LinkTest, AfterAnErrorTheLinkIsUncleanUntilSync) {
  link->send(message('P'), Owes::parse, Fate::forward, 1);
  link->send(message('B'), Owes::bind, Fate::forward, 2);
  link->flush();
  say(failure());
  EXPECT_EQ(user.said, "E(1!) end(1 failed) end(2 skipped) ");
  EXPECT_TRUE(link->ledger().empty());
  // A server that skips to Sync ignores a simple query too: it makes nothing clean.
  link->send_query("select 1", Fate::forward, 3);
  link->flush();
  EXPECT_TRUE(link->ledger().empty());
  EXPECT_FALSE(link->clean());
  link->send_sync(Fate::forward, 4);
  link->flush();
  say(ready());
  EXPECT_TRUE(link->clean());
}

TEST_F(LinkTest, AfterExecuteAndFlushTheLinkIsNotClean) {
  link->send(message('E'), Owes::execute, Fate::forward, 1);
  link->send_unanswered(message('H'));
  link->flush();
  say(done());
  EXPECT_TRUE(link->ledger().empty());
  EXPECT_FALSE(link->clean()) << "a write would still be open";
}

TEST_F(LinkTest, AHalfSentMessageKeepsItUncleanAndSilent) {
  link->send_query("copy t from stdin", Fate::forward, 1);
  link->flush();
  say(message('G') + failure() + ready());
  const Bytes whole = message('d', Bytes(100, 'x'));
  link->send_unanswered(whole.substr(0, 50), whole.size() - 50);
  link->flush();
  EXPECT_TRUE(link->half_sent());
  EXPECT_FALSE(link->clean());
  link->send_unanswered(whole.substr(50), 0);
  link->flush();
  EXPECT_TRUE(link->clean());
}

TEST_F(LinkTest, ATransactionLeftOpenIsNotClean) {
  link->send_query("begin", Fate::forward, 1);
  link->flush();
  say(done() + ready('T'));
  EXPECT_FALSE(link->clean());
}

TEST_F(LinkTest, ParameterStatusIsKeptWithoutAUser) {
  link->set_user(nullptr);
  Bytes out;
  wire::put_parameter_status(out, "TimeZone", "UTC");
  say(out);
  EXPECT_EQ(link->reported().at("TimeZone"), "UTC");
  EXPECT_TRUE(link->clean());
}

// Held whole they would cost a megabyte for each link.
TEST_F(LinkTest, ErrorsAndNoticesOfAnyLengthPassThrough) {
  link->send_query("select 1", Fate::forward, 1);
  link->flush();
  const Bytes error = failure(std::string(3 << 20, 'e'));
  Bytes notice = error;
  notice[0] = 'N';
  say(notice + error);
  say(ready());
  EXPECT_FALSE(link->lost()) << user.said.substr(0, 1000);
  EXPECT_TRUE(link->clean());
  EXPECT_NE(user.said.find("async N(1)"), std::string::npos);
  EXPECT_NE(user.said.find("E~(1)"), std::string::npos);
  EXPECT_NE(user.said.find("end(1 failed)"), std::string::npos);
}

TEST_F(LinkTest, ALongErrorEndsItsEntryWithItsLastPart) {
  link->send(message('P'), Owes::parse, Fate::swallow, 1);
  link->send_sync(Fate::forward, 2);
  link->flush();
  const Bytes error = failure(std::string(3 << 20, 'e'));
  say(ByteView(error).substr(0, 2 << 20));
  EXPECT_EQ(user.said.find("end(1"), std::string::npos);
  say(ByteView(error).substr(2 << 20));
  EXPECT_NE(user.said.find("end(1 failed)"), std::string::npos);
  EXPECT_EQ(user.rows, "") << "nothing of a swallowed entry is passed on";
  say(ready());
  EXPECT_TRUE(link->clean());
}

TEST_F(LinkTest, PausedItReadsNothingUntilResumed) {
  link->send_query("select 1", Fate::forward, 1);
  link->flush();
  link->pause();
  say(message('D', "xy"));
  EXPECT_EQ(user.said, "");
  link->resume();
  turn();
  EXPECT_EQ(user.said, "rows(1:7) ");
}

TEST_F(LinkTest, TheEndOfTheServerIsTold) {
  link->send_query("select 1", Fate::forward, 1);
  link->flush();
  heard();
  server.close();
  turn();
  EXPECT_TRUE(user.said.starts_with("lost: ")) << user.said;
}

TEST_F(LinkTest, ItMovesToAnotherLoopWhileIdle) {
  net::Loop other(clock);
  net::Socket socket = link->detach();
  ASSERT_TRUE(link->attach(other, scratch, std::move(socket)));
  link->send_query("select 1", Fate::forward, 1);
  link->flush();
  EXPECT_FALSE(heard().empty());
  link.reset();  // before its loop
}

// What it sends goes at the end of a turn, by io_uring, unless it is wanted sooner.
struct LinkInATurn : net::OnEachKernel {
  Scratch scratch;
  Recorder user;
  std::array<std::unique_ptr<Link>, 2> links;
  std::array<net::Socket, 2> servers;

  void SetUp() override {
    net::OnEachKernel::SetUp();
    for (std::size_t i = 0; i < links.size(); ++i) {
      int ends[2];
      ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
      servers[i] = net::Socket(ends[0]);
      links[i] = std::make_unique<Link>(LinkId(1), LinkKey{NodeId(0), "db", "ann"}, Greeting{});
      ASSERT_TRUE(links[i]->attach(loop, scratch, net::Socket(ends[1])));
      links[i]->set_user(&user);
    }
  }
  void TearDown() override {
    for (auto& link : links) link.reset();
  }
  void in_a_turn(const std::function<void()>& work) {
    loop.after(Duration::zero(), [this, work] {
      loop.after(Duration::zero(), [this, work] {
        work();
        loop.post([this] { loop.post([this] { loop.stop(); }); });
      });
    });
    run();
  }
  void query(std::size_t which, std::string_view sql) {
    links[which]->send_query(sql, Fate::forward);
    links[which]->flush();
  }
  // Another one's end sends all that the turn has gathered: what is sent behind that waits.
  void end_another() {
    query(1, "x");
    links[1]->close(Error{Errc::closed_by_us, {}});
  }
  Bytes heard() {
    char chunk[65536];
    const net::Io io = servers[0].read(loop, chunk);
    return Bytes(chunk, io.state == net::Io::ok ? io.bytes : 0);
  }
};

TEST_P(LinkInATurn, WhatItSentGoesOutAheadOfItsEnd) {
  in_a_turn([&] {
    query(0, "a");
    end_another();
    query(0, "b");
    links[0]->close(Error{Errc::closed_by_us, {}});
  });
  EXPECT_EQ(heard(), message('Q', ByteView("a\0", 2)) + message('Q', ByteView("b\0", 2)) + message('X'));
}

TEST_P(LinkInATurn, WhatHasToWaitForTheNextTurnCanBeAskedForAtOnce) {
  const Bytes a = message('Q', ByteView("a\0", 2)), b = message('Q', ByteView("b\0", 2));
  in_a_turn([&] {
    query(0, "a");
    EXPECT_TRUE(links[0]->send_now());
    EXPECT_EQ(heard(), a);
    query(0, "b");
    EXPECT_TRUE(links[0]->send_now());
    EXPECT_EQ(heard(), b);
    query(0, "a");
  });
  EXPECT_EQ(heard(), a);
  EXPECT_EQ(links[0]->unsent(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Each, LinkInATurn, net::kKernels, net::kernel_name);

}  // namespace
}  // namespace herdgate::backend
