#include "pcp/conversation.h"

#include <gtest/gtest.h>

using namespace std::literals;

namespace herdgate::pcp {
namespace {

class Talk : public testing::Test {
 protected:
  Conversation talk{[this] { return Bytes("salt").replace(0, 1, 1, static_cast<char>('0' + salts_++)); }};

  void ask(const Request& request) {
    Bytes out;
    put_request(out, request);
    talk.feed(out);
  }
  void log_in() {
    ask({Ask::salt, 0, 0, {}, {}});
    ask({Ask::login, 0, 0, "u", "p"});
    ASSERT_TRUE(talk.next());
    talk.login_checked(true);
    talk.take_output();
  }
  // The ErrorResponse that is all of the output.
  Trouble trouble() {
    const Bytes out = talk.take_output();
    const auto frame = first_frame(out, kReplyLimit);
    if (!frame || !*frame || (**frame).letter != 'E' || (**frame).whole_bytes != out.size())
      return {"", out, "", "", ""};
    return parse_trouble((**frame).payload);
  }

 private:
  int salts_ = 0;
};

TEST_F(Talk, LoginByChallenge) {
  ask({Ask::salt, 0, 0, {}, {}});
  EXPECT_FALSE(talk.next());
  EXPECT_EQ(talk.take_output(),
            "m\0\0\0\x8"
            "0alt"s);
  ask({Ask::login, 0, 0, "u", "proof"});
  const auto act = talk.next();
  ASSERT_TRUE(act);
  const auto& check = std::get<CheckLogin>(*act);
  EXPECT_EQ(check.user, "u");
  EXPECT_EQ(check.proof, "proof");
  EXPECT_EQ(check.salt, "0alt");
  EXPECT_FALSE(talk.logged_in());
  talk.login_checked(true);
  EXPECT_TRUE(talk.logged_in());
  EXPECT_EQ(talk.take_output(),
            "r\0\0\0\x15"
            "AuthenticationOK\0"s);
}

TEST_F(Talk, AWrongPasswordEndsIt) {
  ask({Ask::salt, 0, 0, {}, {}});
  ask({Ask::login, 0, 0, "u", "p"});
  ask({Ask::node_count, 0, 0, {}, {}});
  ASSERT_TRUE(talk.next());
  talk.take_output();
  talk.login_checked(false);
  EXPECT_TRUE(talk.ended());
  EXPECT_FALSE(talk.next());
  EXPECT_EQ(trouble(), (Trouble{"FATAL", "authentication failed for user \"u\"",
                                "username and/or password does not match", "", "XX000"}));
  EXPECT_FALSE(talk.take_complaint());
}

TEST_F(Talk, ASaltServesOnce) {
  ask({Ask::salt, 0, 0, {}, {}});
  ask({Ask::login, 0, 0, "u", "p"});
  ASSERT_TRUE(talk.next());
  talk.login_checked(true);
  talk.take_output();
  ask({Ask::login, 0, 0, "u", "p"});
  EXPECT_FALSE(talk.next());
  EXPECT_TRUE(talk.ended());
  EXPECT_FALSE(talk.logged_in());
}

TEST_F(Talk, OneSaltIsGivenForALogin) {
  ask({Ask::salt, 0, 0, {}, {}});
  ask({Ask::salt, 0, 0, {}, {}});
  EXPECT_FALSE(talk.next());
  EXPECT_TRUE(talk.ended());
  EXPECT_NE(talk.take_output().find("a second salt was asked for before a login"), Bytes::npos);
}

TEST_F(Talk, WhoIsLoggedInMayLogInAgain) {
  log_in();
  log_in();
  EXPECT_TRUE(talk.logged_in());
}

TEST_F(Talk, NothingIsDoneBeforeTheLogin) {
  for (const Ask what : {Ask::node_count, Ask::stop, Ask::set_parameter, Ask::detach, Ask::stop_recovery}) {
    Conversation fresh([] { return Bytes("salt"); });
    Bytes out;
    put_request(out, {what, 0, 'f', "a", "b"});
    fresh.feed(out);
    EXPECT_FALSE(fresh.next());
    EXPECT_TRUE(fresh.ended());
    EXPECT_NE(fresh.take_output().find("connection not authorized"), Bytes::npos);
  }
}

TEST_F(Talk, WithoutASaltThereIsNoLogin) {
  ask({Ask::login, 0, 0, "u", "p"});
  EXPECT_FALSE(talk.next());
  EXPECT_EQ(trouble().message, "authentication failed");
}

TEST_F(Talk, AUserNameTooLong) {
  ask({Ask::salt, 0, 0, {}, {}});
  EXPECT_FALSE(talk.next());
  talk.take_output();
  ask({Ask::login, 0, 0, std::string(kMaxUserBytes + 1, 'u'), "p"});
  EXPECT_FALSE(talk.next());
  EXPECT_EQ(trouble().message, "authentication failed");
}

TEST_F(Talk, OneRequestAtATimeInOrder) {
  log_in();
  ask({Ask::node_count, 0, 0, {}, {}});
  ask({Ask::attach, 3, 0, {}, {}});
  EXPECT_EQ(std::get<Request>(*talk.next()).ask, Ask::node_count);
  EXPECT_TRUE(talk.busy());
  EXPECT_FALSE(talk.next());
  talk.answer("one");
  const auto second = std::get<Request>(*talk.next());
  EXPECT_EQ(second.ask, Ask::attach);
  EXPECT_EQ(second.number, 3);
  talk.refuse({"ERROR", "no", "", "", "XX000"});
  EXPECT_FALSE(talk.ended());
  EXPECT_EQ(talk.take_output().substr(0, 4), "oneE");
}

TEST_F(Talk, EveryCutOfTheBytesGivesTheSame) {
  Bytes all;
  put_request(all, {Ask::salt, 0, 0, {}, {}});
  put_request(all, {Ask::login, 0, 0, "u", "p"});
  put_request(all, {Ask::process_info, 17, 0, {}, {}});
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    Conversation each([] { return Bytes("salt"); });
    std::vector<Act> acts;
    for (const ByteView part : {ByteView(all).substr(0, cut), ByteView(all).substr(cut)}) {
      each.feed(part);
      while (auto act = each.next()) {
        if (std::holds_alternative<CheckLogin>(*act)) each.login_checked(true);
        acts.push_back(*act);
      }
    }
    ASSERT_EQ(acts.size(), 2u) << cut;
    EXPECT_EQ(std::get<Request>(acts[1]).number, 17);
  }
}

TEST_F(Talk, HostileBytes) {
  log_in();
  talk.feed("I\xff\xff\xff\xff");
  EXPECT_FALSE(talk.next());
  EXPECT_EQ(trouble(), (Trouble{"FATAL", "invalid PCP packet", "incorrect packet length (-1)", "", "XX000"}));
  EXPECT_TRUE(talk.ended());
  const auto complaint = talk.take_complaint();
  ASSERT_TRUE(complaint);
  EXPECT_EQ(complaint->message, "invalid PCP packet");
  EXPECT_FALSE(talk.take_complaint());
  talk.feed("L\0\0\0\4"s);
  EXPECT_FALSE(talk.next());
}

TEST_F(Talk, UnknownLetter) {
  log_in();
  talk.feed("?\0\0\0\4"s);
  EXPECT_FALSE(talk.next());
  EXPECT_EQ(trouble(), (Trouble{"FATAL", "PCP processing request", "unknown PCP packet type \"?\"", "", "XX000"}));
}

TEST_F(Talk, APauseIsForThoseWhoAreLoggedIn) {
  ask({Ask::pause, 0, 0, "", {}});
  EXPECT_FALSE(talk.next());
  EXPECT_EQ(trouble().detail, "connection not authorized");
  Conversation other([] { return Bytes("salt"); });
  std::swap(talk, other);
  log_in();
  ask({Ask::pause, 0, 0, "db", {}});
  EXPECT_EQ(std::get<Request>(*talk.next()), (Request{Ask::pause, 0, 0, "db", {}}));
  ask({Ask::resume, 0, 0, "", {}});
  EXPECT_FALSE(talk.next());  // not before the first is in force
  talk.answer("");
  EXPECT_EQ(std::get<Request>(*talk.next()), (Request{Ask::resume, 0, 0, "", {}}));
}

TEST_F(Talk, WaitingInputIsBounded) {
  log_in();
  ask({Ask::node_count, 0, 0, {}, {}});
  ASSERT_TRUE(talk.next());
  while (talk.wants_input()) ask({Ask::node_count, 0, 0, {}, {}});
  EXPECT_FALSE(talk.next());
  talk.answer("");
  std::size_t served = 0;
  for (; talk.next(); ++served) talk.answer("");
  EXPECT_EQ(served, (kMaxInputBytes + kHeaderBytes - 1) / kHeaderBytes);
  EXPECT_TRUE(talk.wants_input());
}

TEST_F(Talk, Bye) {
  log_in();
  ask({Ask::bye, 0, 0, {}, {}});
  EXPECT_FALSE(talk.next());
  EXPECT_TRUE(talk.ended());
  EXPECT_TRUE(talk.take_output().empty());
}

}  // namespace
}  // namespace herdgate::pcp
